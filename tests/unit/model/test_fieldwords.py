"""A message names a field once, and each front says it in its own words: option, param, or the label at the field."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import vmkeep
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.restore_request import NewVmOptions, OverOptions, RestoreRequest
from vmkeep.model.fieldwords import fields_named, in_labels, in_mapping, in_options, in_params, in_recovery, named

ROOT = Path(vmkeep.__file__).parent
LABELS = {"new_name": "Name", "on_conflict": "Its present content"}
WORDS = {"on_conflict": {"overwrite": "write over its disks"}}


@pytest.mark.parametrize(
    ("word", "option", "param", "label"),
    [
        (named("new_name"), "--new-name", "new_name", "“Name”"),
        (named("new_name", recovery="rename"), "--new-name", "new_name", "“Name”"),
        (
            named("on_conflict", "overwrite"), "--on-conflict overwrite", "on_conflict: overwrite",
            "“Its present content” (write over its disks)",
        ),
        (
            named("on_conflict", "keep"), "--on-conflict keep", "on_conflict: keep",
            "on_conflict: keep in the DAG's own form",
        ),
        (
            named("networks", "VM Network=a b"), "--network 'VM Network=a b'", "networks: VM Network=a b",
            "networks: VM Network=a b in the DAG's own form",
        ),
        (named("rdms", "scsi1:0=disk"), "--rdm 'scsi1:0=disk'", "rdms: scsi1:0=disk", "rdms: scsi1:0=disk in"),
    ],
)  # fmt: skip
def test_each_front_says_a_field_in_its_own_words(word, option, param, label):
    message = f"a VM (vm-7) exists: say {word} (or not); then go on"
    assert in_options(message) == f"a VM (vm-7) exists: say {option} (or not); then go on"
    assert in_params(message) == f"a VM (vm-7) exists: say {param} (or not); then go on"
    assert in_labels(message, LABELS, WORDS).startswith(f"a VM (vm-7) exists: say {label}")


def test_a_recovery_names_the_fields_of_its_plan_and_no_option_that_it_does_not_have():
    renaming = named("new_name", recovery="rename")
    message = f"choose another name with {renaming}, or write over it with {named('vm')} (or {named('datastore')})"

    assert in_recovery(message) == (
        "choose another name with 'rename' of the plan, or write over it with --vm of a single restore "
        "(or --datastore of a single restore)"
    )


def test_a_restore_by_a_mapping_names_its_fields_because_an_option_beside_it_would_contradict():
    message = f"choose another name with {named('new_name', recovery='rename')}, or say {named('on_conflict', 'keep')}"

    said = in_mapping(message, {"new_name": "name"})

    assert in_options(said) == "choose another name with 'name' in the mapping, or say --on-conflict keep"


def test_a_message_that_an_earlier_program_wrote_names_its_field_too():
    assert in_options("say --new-name (Airflow: new_name; mapping: name; recovery plan: rename)") == "say --new-name"


def test_a_message_tells_which_fields_it_names_and_one_without_any_stays_as_it_is():
    message = f"say {named('luns', 'a=b')} and {named('new_name')}, or {named('luns')}"
    assert fields_named(message) == ("luns", "new_name")
    for plain in ("run 'vmkeep vm sweep --given-up-after-hours 1' (Airflow: see the DAG)", "a (Airflow: b)", ""):
        assert in_options(plain) == in_params(plain) == in_labels(plain, {}, {}) == plain


def texts_of_a_restore() -> dict[str, ast.Constant | ast.Call]:
    """Return the texts and the calls of ``named`` in the rooms that make messages of restores, by place."""
    found = {}
    for path in [*(ROOT / "flows").rglob("*.py"), *(ROOT / "vsphere").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if text or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "named"):
                found[f"{path.relative_to(ROOT)}:{node.lineno}:{node.col_offset}"] = node
    return found


def test_no_message_names_a_field_in_a_way_that_a_front_cannot_turn_into_its_words():
    known = {
        field.name for kind in (RestoreRequest, OverOptions, NewVmOptions, AttachRequest) for field in fields(kind)
    }
    own = re.compile(r"in Airflow,? (the field|[a-z]+_[a-z]+\b)|--(new-name|disk-map|undo|rdm|lun|on-conflict)\b")
    wrong = []
    for place, node in texts_of_a_restore().items():
        if isinstance(node, ast.Constant):
            if own.search(node.value):
                wrong.append(f"{place}: {node.value}")
        elif isinstance(node.args[0], ast.Constant) and node.args[0].value not in {*known, "vm"}:
            wrong.append(f"{place}: {node.args[0].value} is no field")
    assert wrong == []
