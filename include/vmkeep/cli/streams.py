"""The three standard streams, made fit for any name and any reader.

A name may hold characters that the terminal's encoding lacks, a reader such as ``head`` may leave early, and whoever
starts a program may have closed a stream. None of these is a fault of the command that runs; but one that was asked for
data, e.g. the bytes of a file, needs a place for them.
"""

from __future__ import annotations

import io
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from vmkeep.errors import UsageError


class LostOutput(io.TextIOWrapper):
    """Stands for a standard output that is closed, and remembers whether a command has printed anything."""

    is_used = False

    def write(self, text: str) -> int:
        """Lose a text."""
        self.is_used = self.is_used or bool(text)
        return super().write(text)


def prepare_streams() -> None:
    """Show what an encoding lacks as an escape, and give a closed stream a place to go."""
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = sys.stdout or LostOutput(nowhere.open("wb"), encoding="utf-8")
    sys.stderr = sys.stderr or nowhere.open("w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def data_output() -> BinaryIO:
    """Return standard output for bytes.

    :raises UsageError: it was closed, so that they would go nowhere.
    """
    require_output()
    return sys.stdout.buffer


def require_output() -> None:
    """Return if there is a standard output. A command asks before it does anything of which the output is the purpose.

    :raises UsageError: it was closed.
    """
    if isinstance(sys.stdout, LostOutput):
        raise UsageError("standard output is closed, and what belongs there would be lost: redirect it, e.g. to a file")


def reader_left() -> bool:
    """Return whether the reader of standard output or standard error has gone."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            poll.register(stream.fileno(), 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def flush_output() -> None:
    """Write out what is still held back, while an error can be told."""
    sys.stdout.flush()


def tell_loss() -> None:
    """Say that a command's output went nowhere, if it did."""
    if isinstance(sys.stdout, LostOutput) and sys.stdout.is_used:
        sys.stderr.write("warning: standard output is closed, and what was to be printed there is lost\n")


def abandon_output() -> None:
    """Let Python's own last flush meet no reader that has gone, or disk that is full."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
