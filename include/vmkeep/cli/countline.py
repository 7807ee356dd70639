"""A line on standard error that counts, for work of which nobody knows the end.

It stands below what the command prints meanwhile: each printed line takes its place, and the next count comes back.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from vmkeep.cli.bars import rate
from vmkeep.cli.output import warn
from vmkeep.model.job import Progress
from vmkeep.model.wording import counted, size

_PAUSE: Final = 0.2
"""Least seconds between two counts."""
_ERASE: Final = "\r\x1b[K"


class CountLine:
    """Shows the newest progress, which counts entries of folders, or bytes."""

    def __init__(self, *, hidden: bool, of_bytes: bool = False) -> None:
        """:param hidden: show nothing.

        :param of_bytes: the events count bytes instead of entries.
        """
        self._hidden = hidden
        self._of_bytes = of_bytes
        self._is_there = False
        self._began = time.monotonic()
        self._next = self._began + _PAUSE

    def show(self, event: Progress) -> None:
        """Show a count, if the last one is old enough."""
        at = time.monotonic()
        if self._hidden or at < self._next:
            return
        self._next = at + _PAUSE
        done, seconds = event.bytes_done, at - self._began
        if self._of_bytes:
            text = f"{event.phase}: {size(done)}, {rate(done, seconds)}"
        else:
            text = f"{event.phase}: {counted(done, 'entry', 'entries')}, {done / seconds:,.0f}/s"
        sys.stderr.write(_ERASE + text[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()
        self._is_there = True

    def erase(self) -> None:
        """Make room for other output."""
        if self._is_there:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
            self._is_there = False

    def echo(self, text: str) -> None:
        """Print a line on standard output."""
        self.erase()
        click.echo(text)

    def warn(self, text: str) -> None:
        """Print a warning on standard error."""
        self.erase()
        warn(text)


@contextmanager
def count_line(*, hidden: bool, of_bytes: bool = False) -> Iterator[CountLine]:
    """Yield a line that counts on standard error, if that is a terminal. It vanishes at the end."""
    line = CountLine(hidden=hidden or not _can_erase(), of_bytes=of_bytes)
    try:
        yield line
    finally:
        line.erase()


@contextmanager
def passing_line(text: str, *, hidden: bool) -> Iterator[None]:
    """Show a line on standard error, if that is a terminal, during work that takes seconds. It vanishes at the end."""
    shown = not hidden and _can_erase()
    if shown:
        sys.stderr.write(_ERASE + text[: shutil.get_terminal_size().columns - 1])
        sys.stderr.flush()
    try:
        yield
    finally:
        if shown:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()


def _can_erase() -> bool:
    """Return whether standard error is a terminal on which a line can be written over."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
