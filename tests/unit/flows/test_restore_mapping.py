"""A mapping and a request say the same thing of each part of a new VM, or the restore is refused."""

from __future__ import annotations

import pytest

from tests.unit.flows.test_restore_saved import NETWORK, saved
from vmkeep.errors import MappingError, UsageError
from vmkeep.flows.restore_mapping import GivenMapping, mapping_of, read_mapping_file
from vmkeep.flows.restore_request import RestoreRequest, make_request
from vmkeep.model.rdm import RdmReplacement

SECOND = "Network adapter 2"


def joined(text: str, **options) -> RestoreRequest:
    given = GivenMapping(text)
    request = given.joined(make_request(point="p", run="r", **options))
    return given.with_parts(request, saved(SECOND))


def test_an_unedited_mapping_says_what_the_saved_vm_was():
    vm = saved(SECOND)

    request = joined(mapping_of(vm))

    (disk,) = vm.point.disks
    assert request.new_name == vm.point.vm.name
    assert request.new_vm.keep_identity
    assert request.new_vm.networks == (), "each card finds its saved network, which is more than a name"
    assert request.new_vm.disk_datastores == (f"{disk.address}=ds1",)
    new = request.new_vm
    assert (request.power_on, new.host, new.rdms, new.luns, new.mapping) == (None, None, (), (), "")


def test_an_edited_line_is_what_the_restore_is_told():
    edited = mapping_of(saved(SECOND)).replace(
        f"card: {SECOND}\n    network: {NETWORK}", f'card: {SECOND}\n    network: "a=b [c]"'
    )

    assert joined(edited).new_vm.networks == (f"{SECOND}=a=b [c]",)


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (
            "name: a",
            {"new_name": "b"},
            r"--new-name \(Airflow: new_name\) says 'b', and the mapping \(line 1, column 7\) says 'a'",
        ),
        (
            "name: a\nhost: x",
            {"host": "y"},
            r"--host \(Airflow: host\) says 'y', and the mapping \(line 2, column 7\) says 'x'",
        ),
        (
            "name: a\nkeep_identity: false",
            {"keep_identity": True},
            r"--keep-identity \(Airflow: keep_identity\) says 'True'",
        ),
        ("name: a\npower_on: false", {"power_on": True}, r"--power-on \(Airflow: power_on\) says 'True'"),
        (
            f"name: a\nnetworks:\n- card: {SECOND}\n  network: x",
            {"networks": (f"{NETWORK}=y",)},
            r"--network \(Airflow: networks\) says 'y', and the mapping \(line 4, column 12\) says 'x'",
        ),
        ("name: a", {"vm_selector": "web01"}, "a mapping says where a new VM is made"),
        ("host: x", {}, "the mapping has no name for the new VM"),
    ],
)
def test_a_mapping_and_an_option_that_contradict_each_other_are_refused(text, options, words):
    with pytest.raises(UsageError, match=words):
        joined(text, **options)


def test_a_mapping_and_options_complete_each_other():
    request = joined("folder: /Lab/vm/x", new_name="a", host="h", physical_rdm=RdmReplacement.OMIT)

    assert (request.new_name, request.new_vm.folder, request.new_vm.host) == ("a", "/Lab/vm/x", "h")
    assert joined("name: a\nhost: h", host="h").new_vm.host == "h", "the same in both places"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("disks:\n- disk: scsi0:9\n  datastore: x", r"line 3, column 9: .* no disk 'scsi0:9'; near: 'scsi0:0'"),
        ("networks:\n- card: Network adaptor 2\n  network: x", f"line 3, .* no network card .*near: '{SECOND}'"),
        ("disks:\n- disk: scsi0:0\n  rdm: omit", r"line 4, column 8: .*is no RDM: leave out rdm"),
    ],
)
def test_a_part_that_the_saved_vm_has_not_is_refused_with_its_place(text, words):
    with pytest.raises(MappingError, match=words):
        joined(f"name: a\n{text}")


def test_a_file_that_is_none_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe"
    pipe.parent.joinpath("binary").write_bytes(b"\xff")
    import os

    os.mkfifo(pipe)
    for path, words in (
        (pipe, "this is no file"), (tmp_path / "none", "cannot be read: No such file"), (tmp_path / "binary", "UTF-8"),
    ):  # fmt: skip
        with pytest.raises(MappingError, match=words):
            read_mapping_file(path)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\ufeff\n"], ids=["nothing", "blanks", "a byte order mark"])
def test_an_empty_file_is_refused_because_without_a_mapping_the_original_would_be_written_over(tmp_path, text):
    path = tmp_path / "web01.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(MappingError, match=r"web01\.yaml: the file is empty"):
        read_mapping_file(path)
