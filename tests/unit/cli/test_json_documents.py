"""A document for scripts holds data all the way down, and never a text that only Python can read."""

import json
from datetime import UTC, datetime

import pytest

from vmkeep.cli.output import print_json
from vmkeep.flows.sweep import Finding, Kind, State
from vmkeep.model.vmref import VmRef

FOUND = Finding(
    kind=Kind.SNAPSHOT, state=State.DEAD, vm=VmRef(moref="vm-16", name="app01"), run="cli-1", age_seconds=3.5
)
AS_DATA = {
    "kind": Kind.SNAPSHOT.value,
    "state": State.DEAD.value,
    "vm": {"moref": "vm-16", "name": "app01"},
    "run": "cli-1",
    "age_seconds": 3.5,
    "detail": "",
}


@pytest.mark.parametrize(
    ("document", "printed"),
    [
        (FOUND, AS_DATA),
        ([FOUND], [AS_DATA]),
        ((FOUND,), [AS_DATA]),
        ({"findings": (FOUND,)}, {"findings": [AS_DATA]}),
        ({"deep": [{"down": {"here": FOUND}}]}, {"deep": [{"down": {"here": AS_DATA}}]}),
        ({"at": datetime(2026, 11, 26, 17, 0, tzinfo=UTC)}, {"at": "2026-11-26T17:00:00Z"}),
    ],
)
def test_values_of_ours_are_data_wherever_they_stand_in_a_document(document, printed, capsys):
    print_json(document)

    assert json.loads(capsys.readouterr().out) == printed


def test_a_document_with_a_value_that_is_no_data_is_not_printed_at_all(capsys):
    with pytest.raises(TypeError):
        print_json({"findings": [object()]})

    assert capsys.readouterr().out == ""
