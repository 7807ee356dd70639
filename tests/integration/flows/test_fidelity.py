"""A VM that is made again from its saved configuration is the VM that was, property by property.

A slice of the matrix that `make fidelity` runs as a whole, with the bytes of the disks (docs/architecture/fidelity.md).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fidelity.dimensions import VALUES, go_together
from tests.fidelity.exceptions import EXCEPTIONS
from tests.fidelity.pairs import each_value_once, pairs_of, pairwise, possible_pairs
from tests.fidelity.runner import make_again, open_world, run_row
from tests.integration.flows.restoring import site_of
from tests.labs import start_lab
from vmkeep.repository import create_repository

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "fidelity.md"
ROWS = each_value_once(VALUES, go_together)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fidelity")
    create_repository(str(folder / "repository"))
    with (
        start_lab(folder / "lab", data_disk_gib=0.03125) as lab,
        open_world(lab, site_of(lab, folder / "repository")) as opened,
    ):
        yield opened


def test_each_value_of_each_dimension_comes_back_or_is_a_named_exception(world):
    lost = {
        number: outcome.unexpected
        for number, row in enumerate(ROWS)
        if (outcome := make_again(world, number, row)).unexpected
    }

    assert lost == {}
    assert {(name, value) for row in ROWS for name, value in row.items()} == {
        (name, value) for name, values in VALUES.items() for value in values
    }


def test_a_whole_backup_and_restore_brings_the_same_vm_with_every_byte(world):
    row = next(row for row in ROWS if row["state"] == "running")

    outcome = run_row(world, 99, row)

    assert outcome.unexpected == []
    assert outcome.bytes_compared > 0
    assert outcome.properties > 200


def test_the_matrix_holds_every_pair_of_values_that_go_together():
    few = {name: VALUES[name] for name in ("controllers", "disks", "RDM", "state")}

    rows = pairwise(few, go_together)

    assert all(go_together(row) for row in rows)
    assert possible_pairs(few, go_together) == {pair for row in rows for pair in pairs_of(row)}


def test_the_page_of_the_matrix_is_of_these_dimensions_and_exceptions_and_says_that_nothing_was_lost():
    page = PAGE.read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]

    results = {(row[0], row[1]): row[2:] for row in rows if row[0] in VALUES}
    assert list(results) == [(name, value) for name, values in VALUES.items() for value in values]
    assert [key for key, (number, good) in results.items() if int(number) < 1 or number != good] == []
    assert [row[0] for row in rows if row[0] in {each.name for each in EXCEPTIONS}] == [
        each.name for each in EXCEPTIONS
    ]
    assert re.search(r"^(\d+) of \1 came back without a loss", page, re.MULTILINE)
