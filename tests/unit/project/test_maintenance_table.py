"""docs/architecture/maintenance.md: each cell of its table names a case that is run."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.maintenance import test_starting_one_while_another_runs as cases

PAGE = Path(__file__).parents[3] / "docs" / "architecture" / "maintenance.md"


def table():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(("| X", "| **"))]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    columns = rows[0][1:]
    return {
        (row[0].strip("*"), column): cell for row in rows[1:] for column, cell in zip(columns, row[1:], strict=True)
    }


def test_the_table_has_a_cell_for_every_pair_and_each_names_its_test():
    cells = table()

    assert set(cells) == {(started, running) for started in cases.OPERATIONS for running in cases.OPERATIONS}
    for (started, running), cell in cells.items():
        assert re.match(rf"`{started}-{running}` \w", cell), (started, running)


def test_the_tests_that_the_page_names_exist():
    sources = "\n".join(path.read_text() for path in Path(cases.__file__).parent.glob("test_*.py"))

    for name in re.findall(r"`(test_\w+)`", PAGE.read_text()):
        assert f"def {name}(" in sources, name
