"""Signals that end a command: by an exception, so that what it has begun is cleaned up."""

from __future__ import annotations

import signal
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_IMPORTER = "<frozen importlib._bootstrap>"
"""The file that frames of Python's import belong to."""
_PAUSE_SECONDS = 0.02


def catch_interrupts() -> None:
    """Raise :class:`KeyboardInterrupt` for Ctrl-C, for SIGTERM, and for the end of the terminal.

    Ctrl-C and SIGTERM also where whoever started this program left them ignored, as a shell does for a job in the
    background: a signal is the only way to make it clean up. ``nohup`` says that the terminal's end is no reason.

    An interruption in the middle of an import waits for its end, because libraries swallow exceptions there, or are
    half loaded afterwards and fail with others. A second one does not wait.
    """
    for number in (*_ENDING, signal.SIGALRM):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def raise_waiting() -> None:
    """Raise :class:`KeyboardInterrupt` now if an interruption waits for the end of an import that is over."""
    if _waits():
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt


def ignore_interrupts() -> None:
    """Let nothing interrupt the last words."""
    for number in (*_ENDING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _in_import(frame) and (number == signal.SIGALRM or not _waits()):
        signal.setitimer(signal.ITIMER_REAL, _PAUSE_SECONDS)
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt


def _waits() -> bool:
    return signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _in_import(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTER:
            return True
        frame = frame.f_back
    return False
