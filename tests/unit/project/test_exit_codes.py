"""The manual's table of exit codes says what the errors say, and what to do about each."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import chain
from pathlib import Path
from pkgutil import walk_packages

import vmkeep
from vmkeep.cli.failures import SYSTEM, UNEXPECTED
from vmkeep.cli.main import READER_LEFT
from vmkeep.errors import VmKeepError

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operations" / "exit-codes.md"
RUNBOOK = ROOT / "docs" / "operations" / "runbook.md"
ENTRY = re.compile(
    r"^\| `(?P<error>\w+)`, (?P<code>\d+) \| \"(?P<message>[^|]+)\" \| (?P<cause>[^|]+) \| (?P<remedy>[^|]+) \|$",
    re.MULTILINE,
)
SOURCES = [file for folder in ("include/vmkeep", "plugins") for file in (ROOT / folder).rglob("*.py")]


def error_classes(of: type[VmKeepError] = VmKeepError) -> set[type[VmKeepError]]:
    """Return every class of error in the whole program that may end a command."""
    for module in walk_packages(vmkeep.__path__, "vmkeep."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    below = [error_classes(kind) for kind in of.__subclasses__() if kind.__module__.startswith("vmkeep.")]
    return {of, *chain.from_iterable(below)}


def table() -> list[str]:
    """The rows that the manual has to have, without their last column, which a person writes."""
    rows = ["| code | error | meaning | retry |", "|--|--|--|--|"]
    for kind in sorted(error_classes(), key=lambda kind: kind.exit_code):
        if not kind.__name__.startswith("_"):
            meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("``", "`")
            rows.append(f"| {kind.exit_code} | `{kind.__name__}` | {meaning} | {kind.recovery} |")
    return rows


def manual() -> dict[str, str]:
    """The rows of the manual's table without their last column, and that column."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    rows = [line.removesuffix("|").rpartition("|") for line in lines]
    return {f"{row}|": remedy.strip() for row, _, remedy in rows}


def test_the_manual_lists_every_exit_code():
    there = list(manual())

    missing = [row for row in table() if row not in there]
    assert missing == [], "docs/operations/exit-codes.md needs these rows, each with a last column: what to do"
    assert there == table()


def test_the_manual_says_of_every_error_what_to_do():
    untold = [row for row, remedy in list(manual().items())[2:] if len(remedy.split()) < 4]

    assert untold == []


def test_no_two_errors_are_told_the_same_remedy_by_a_copied_row():
    remedies = list(manual().values())[2:]

    assert [remedy for remedy in set(remedies) if remedies.count(remedy) > 1] == []


def test_the_runbook_has_an_entry_for_every_error_with_a_message_that_is_really_said():
    said = re.sub(r'"\s*\n\s*f?"', "", "".join(file.read_text() for file in SOURCES))
    entries = {match["error"]: match for match in ENTRY.finditer(RUNBOOK.read_text())}

    base, *kinds = sorted(error_classes(), key=lambda kind: kind.exit_code)
    assert base is VmKeepError, "each error that is raised is of a kind below"
    assert set(entries) == {kind.__name__ for kind in kinds if not kind.__name__.startswith("_")}
    for kind in kinds:
        if entry := entries.get(kind.__name__):
            assert int(entry["code"]) == kind.exit_code
            assert entry["message"] in said, f"nothing says what the runbook shows of {kind.__name__}"
            assert min(len(entry[part].split()) for part in ("cause", "remedy")) >= 4, kind.__name__


def test_no_two_errors_share_an_exit_code():
    codes = [int(line.split("|")[1]) for line in table()[2:]]

    assert sorted({*codes, SYSTEM, UNEXPECTED, READER_LEFT}) == sorted([*codes, SYSTEM, UNEXPECTED, READER_LEFT])


def test_the_manual_tells_the_codes_that_are_no_errors_of_ours():
    for code in (SYSTEM, UNEXPECTED, READER_LEFT):
        assert f"\n{code} " in PAGE.read_text()
