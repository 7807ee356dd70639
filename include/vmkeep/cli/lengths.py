"""How much of a long list a command shows: all of it to a program, and a part to a person at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from vmkeep.cli.pages import Section, option

F = TypeVar("F", bound=Callable[..., Any])
ON_A_TERMINAL: Final = 500
"""Rows that a terminal shows if nobody asked for a number. The command says that there are more."""


def limit_option(of: str) -> Callable[[F], F]:
    """Return what adds the option for the length of a list.

    :param of: the rows that are shown, e.g. ``points, the newest``.
    """
    return option(
        "--limit", section=Section.WHAT, metavar="N", type=click.IntRange(0),
        help=f"Show this number of {of}; 0: all. Without it, a terminal shows {ON_A_TERMINAL}, and a pipe, a file or "
        "--json gets all.",
    )  # fmt: skip


def shown_at_most(limit: int | None, *, as_json: bool) -> int | None:
    """Return the number of rows to show; ``None``: all."""
    if limit is None:
        return ON_A_TERMINAL if sys.stdout.isatty() and not as_json else None
    return limit or None
