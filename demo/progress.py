"""A line that names the present step: rewritten on a terminal, printed elsewhere when it changes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


class ProgressLine:
    """The present step of the demo."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._last = ""
        self._width = 0

    @property
    def seconds(self) -> float:
        """Seconds since the demo began."""
        return time.monotonic() - self._began

    def show(self, text: str) -> None:
        """Say what goes on."""
        if self._stream.isatty():
            line = f"[{self.seconds:4.0f} s] {text}"[:110]
            self._stream.write("\r" + line.ljust(self._width))
            self._width = len(line)
        elif text != self._last:
            self._stream.write(f"[{self.seconds:4.0f} s] {text}\n")
        self._last = text
        self._stream.flush()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._stream.isatty():
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0
        self._stream.write(f"[{self.seconds:4.0f} s] {text}\n")
        self._last = ""
        self._stream.flush()


def describe(tasks: Sequence[Mapping[str, Any]]) -> str:
    """Return what a run's tasks are doing, e.g. ``copy_disk: 1 success, 2 running``."""
    active = [task for task in tasks if task["state"] in {"running", "queued", "up_for_retry", "scheduled"}]
    if not active:
        return "waiting for the scheduler"
    name = max(active, key=lambda task: task["state"] == "running")["task_id"]
    states = Counter(str(task["state"]) for task in tasks if task["task_id"] == name)
    return f"{name}: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
