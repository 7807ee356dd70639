"""Every assumption of the lab says how it is read, why that is the strictest, and what would confirm it."""

from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "docs" / "architecture"
FORMS = [
    ["Assumption", f"The {whose} reading", "Why it is the strictest", "What would confirm it"]
    for whose in ("lab's", "program's")
]
SETTLED = ["Fact", "Source"]


def cells(line):
    """The cells of a table's line; a bar inside of code spans is no border."""
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def tables(text):
    """Each table of a page: its header and its rows."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|---"):
            rows = []
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                rows.append(cells(row))
            yield cells(lines[number - 1]), rows


@pytest.mark.parametrize("page", ["lab-assumptions-vsphere.md", "lab-assumptions-vddk.md"])
def test_every_assumption_says_what_would_confirm_it(page):
    found = list(tables((PAGES / page).read_text(encoding="utf-8")))

    assert [header for header, _ in found if header not in (*FORMS, SETTLED)] == []
    assert [row for header, rows in found for row in rows if len(row) != len(header) or not all(row)] == []
    assert sum(len(rows) for header, rows in found if header in FORMS) > 40
