"""Lists lines in Markdown so that Airflow's pages show each of them on its own, letter by letter."""

from __future__ import annotations

import re
from collections.abc import Iterable


def listed(lines: Iterable[str]) -> str:
    """Return a Markdown list with one item for each line.

    Each item is code, because a VM's name may look like Markdown. A list holds the lines apart, because Airflow's
    pages run the lines of a block of code together.
    """
    return "".join(f"- {_code(line)}\n" for line in lines)


def _code(line: str) -> str:
    """Return a line as code. Its fence is longer than each row of backticks in the line, which would end it."""
    text = " ".join(line.splitlines())
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}"


def flat(line: str) -> str:
    """Return a line in which each character that is not printed, or that turns the writing round, is a blank.

    A name may hold an end of a line, by which it would begin a line of its own, or a mark that reverses what follows.
    """
    return "".join(each if each.isprintable() else " " for each in line)
