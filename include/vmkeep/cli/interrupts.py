"""Signals that end a command: by an exception, so that what it has begun is cleaned up."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def catch_interrupts() -> None:
    """Raise :class:`KeyboardInterrupt` for Ctrl-C, for SIGTERM, and for the end of the terminal.

    Ctrl-C and SIGTERM also where whoever started this program left them ignored, as a shell does for a job in the
    background: a signal is the only way to make it clean up. ``nohup`` says that the terminal's end is no reason.
    """
    for number in _ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def ignore_interrupts() -> None:
    """Let nothing interrupt the last words."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
