"""The command line from its entry point to its exit code, run in the test's own process.

A process of its own costs a second of processor time, because it imports everything again. Tests of what a process
does with signals and streams start one (``unit/cli/test_endings.py``). Tests of what a command answers need none.
"""

from __future__ import annotations

import io
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vmkeep.cli.main import main

_TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
"""The signals that a command takes for itself."""


def run_here(*arguments: str, **changed: str | None) -> subprocess.CompletedProcess[str]:
    """Run ``vmkeep`` and return what a process of it would leave.

    :param changed: variables of the environment; ``None`` takes one away.
    """
    streams = io.BytesIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch, _signals_and_log_as_before():
        for name, value in changed.items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        patch.setattr("vmkeep.cli.output._printed", threading.Event())  # a new process has printed nothing
        patch.setattr(sys, "argv", ["vmkeep", *arguments])
        patch.setattr(sys, "stdin", io.StringIO())
        for name, stream in zip(("stdout", "stderr"), streams, strict=True):
            patch.setattr(sys, name, io.TextIOWrapper(stream, encoding="utf-8", write_through=True))
        with pytest.raises(SystemExit) as ended:
            main()
        out, error = (stream.getvalue().decode() for stream in streams)
    return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), out, error)


@contextmanager
def _signals_and_log_as_before() -> Iterator[None]:
    """Let a command set up signals and the log as at the start of a process, and take that back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    taken = {number: signal.getsignal(number) for number in _TAKEN}
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for number, handler in taken.items():
            signal.signal(number, handler)
