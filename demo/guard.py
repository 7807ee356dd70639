"""A process that outlives its parent by seconds, to end what the parent started, even when the parent was killed.

The parent writes ``+<group>`` when it starts a process group and ``-<group>`` when it has ended it. When the pipe
closes, the parent is gone, and every group that is still on the list is ended.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PATIENCE = 10.0
"""Seconds between the word to end and the kill."""


class Guard:
    """The parent's end of the pipe."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__))], stdin=subprocess.PIPE, text=True, start_new_session=True
        )

    def watch(self, group: int) -> None:
        """End this process group should the parent die."""
        self._say(f"+{group}")

    def release(self, group: int) -> None:
        """Forget a process group: it has ended."""
        self._say(f"-{group}")

    def close(self) -> None:
        """End the guard; call it when every group has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)


@cache
def guard() -> Guard:
    """Return this process's guard, started on first use and ended with this process."""
    started = Guard()
    atexit.register(started.close)
    return started


def main(lines: Iterable[str]) -> None:
    """Keep the list until the pipe closes, then end what is on it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        groups = groups | {group} if line.startswith("+") else groups - {group}
    send(groups, signal.SIGTERM)
    end = time.monotonic() + PATIENCE
    while groups and time.monotonic() < end:
        time.sleep(0.2)
        groups = send(groups, 0)
    send(groups, signal.SIGKILL)


def send(groups: set[int], number: int) -> set[int]:
    """Signal each group; return those that still exist."""
    alive = set()
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
            alive.add(group)
    return alive


if __name__ == "__main__":
    main(sys.stdin)
