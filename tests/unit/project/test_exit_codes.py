"""The manual's table of exit codes says what the errors say."""

from __future__ import annotations

from pathlib import Path

from vmkeep import errors

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations.md"


def table() -> str:
    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.VmKeepError) and "exit_code" in vars(kind)
    ]
    rows = ["| code | error | meaning | retry |", "|--|--|--|--|"]
    for kind in sorted(classes, key=lambda kind: kind.exit_code):
        meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("``", "`")
        rows.append(f"| {kind.exit_code} | `{kind.__name__}` | {meaning} | {kind.recovery} |")
    return "\n".join(rows)


def test_the_manual_lists_every_exit_code():
    assert table() in OPERATIONS.read_text(), f"docs/operations.md needs this table:\n{table()}"


def test_no_two_errors_share_an_exit_code():
    lines = table().splitlines()[2:]

    assert len({line.split("|")[1] for line in lines}) == len(lines)
