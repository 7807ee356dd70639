"""A mapping says what it was given, in every spelling, and tells each of its faults with line and column."""

import json
from dataclasses import replace

import jsonschema
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from vmkeep.errors import MappingError
from vmkeep.mapping import CardLine, DiskLine, RestoreMapping, read_mapping, schema_text, write_mapping
from vmkeep.model.rdm import RDM_WORDS

ODD = (
    "web01", "a b", " blank", "true", "null", "none", "12", "1.5", "2026-01-01", "a: b", "a #b", "- x", "*x", "&x",
    '"q"', "it's", "[ds] a/b", "50%", "a%2fb", "back\\slash", "ünï ☃", "日本", "~", "@x", "{a}", "x:", "tab\tin it",
    "=", "No", "scsi0:0", "12:30",
)  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_a_written_mapping_is_read_as_it_was(text):
    mapping = RestoreMapping(
        name=text,
        keep_identity=True,
        power_on=False,
        folder=text,
        datastore=text,
        log_directory=text,
        snapshot_directory=text,
        disks=(DiskLine(disk=text, datastore=text, rdm="omit", lun=text), DiskLine(disk="scsi0:1")),
        networks=(CardLine(card=text, network=text),),
    )

    written = write_mapping(mapping, about=(f"about {text}\n# and more",))

    assert read_mapping(written).mapping == mapping
    jsonschema.validate(yaml.safe_load(written), json.loads(schema_text()))


@given(st.text(min_size=1))
@example("next line\x85 and line separator\u2028")
@example("delete\x7f")
@example("\ufeffmark")
@example("\U000e0041")
def test_a_name_of_any_characters_comes_back_from_the_unedited_file(name):
    mapping = RestoreMapping(name=name, disks=(DiskLine(disk=name, about=name),), networks=(CardLine(card=name),))

    written = write_mapping(mapping, about=(name,))

    assert read_mapping(written).mapping == replace(mapping, disks=(DiskLine(disk=name),))


def test_a_comment_tells_of_every_field():
    written = write_mapping(
        RestoreMapping(disks=(DiskLine(disk="scsi0:0", rdm="placeholder", about="40 GiB"),)), about=()
    )

    assert "  - disk: scsi0:0  # 40 GiB\n    datastore: null\n    rdm: placeholder\n    lun: null\n" in written
    for part in (
        json.loads(schema_text())["properties"],
        *(d["properties"] for d in json.loads(schema_text())["$defs"].values()),
    ):
        assert all(part[name]["description"] for name in part)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nmae: x\n", "line 1, column 1: there is no field 'nmae'; did you mean 'name'?"),
        ("name: x\ndisks:\n  - disk: scsi0:0\n    data_store: x\n", r"line 4, column 5: .*did you mean 'datastore'\?"),
        ("name: 12\n", 'line 1, column 7: name: 12 is not a text, as in "web01-copy"'),
        ("keep_identity: no\n", "line 1, column 16: keep_identity: 'no' is not true or false"),
        ("disks:\n  - disk: scsi0:0\n    rdm: omitted\n", r"line 3, column 10: .*did you mean 'omit'\? choose from"),
        ("disks: scsi0:0\n", "line 1, column 8: disks: 'scsi0:0' is not a list"),
        ("disks:\n  - datastore: x\n", r"line 2, column 5: disks\[1\].disk is missing"),
        ("name: ''\n", "line 1, column 7: name: the text is empty"),
        ("disks:\n- disk: a\n- disk: a\n", "line 3, column 9: 'a' stands twice, first in line 2"),
        ("a: b: c\n", "line 1, column 5: this is not YAML"),
        ("- x\n", "line 1, column 1: a mapping has fields, such as name: web01-copy"),
        ("x: 1\ny: 2\n", "line 1, .*; line 2, "),
    ],
)
def test_every_fault_is_told_with_its_place(text, words):
    with pytest.raises(MappingError, match=f"^mapping, {words}"):
        read_mapping(text)


@pytest.mark.parametrize("text", ["", "# nothing\n", "disks: null\n", "name:\n"])
def test_a_mapping_may_leave_out_everything(text):
    assert read_mapping(text).mapping == RestoreMapping()


def test_a_mapping_takes_the_words_for_rdms_that_the_options_take():
    schema = json.loads(schema_text())

    assert schema["$defs"]["disk"]["properties"]["rdm"]["enum"] == [*RDM_WORDS, None]
