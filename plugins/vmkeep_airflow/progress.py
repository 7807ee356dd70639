"""Logs the progress of a task, often enough to follow and seldom enough to read."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from vmkeep.model.job import Progress
from vmkeep.model.wording import size

_EVERY_SECONDS = 10.0


class Log(Protocol):
    """The methods that every operator's logger has, the standard library's and Airflow's alike."""

    def info(self, event: Any, *args: Any) -> Any:
        """Write one line."""


def describe(label: str, progress: Progress) -> str:
    """Return one line with bytes, rate and remaining time."""
    share = 100.0 * progress.bytes_done / progress.bytes_total if progress.bytes_total else 100.0
    line = (
        f"{label}: {progress.phase} {share:.0f} % ({size(progress.bytes_done)} of "
        f"{size(progress.bytes_total)}), {size(progress.rate)}/s"
    )
    return line if progress.eta_seconds is None else f"{line}, {progress.eta_seconds:.0f} s left"


def describe_share(label: str, progress: Progress) -> str:
    """Return one line with the share that is done, for work that is not counted only in bytes."""
    share = 100.0 * progress.bytes_done / progress.bytes_total if progress.bytes_total else 100.0
    return f"{label}: {progress.phase} {share:.0f} %"


class ProgressLog:
    """Write a line every ten seconds, and one for the last event."""

    def __init__(self, log: Log, label: str, describe: Callable[[str, Progress], str] = describe) -> None:
        self._log = log
        self._label = label
        self._describe = describe
        self._next = time.monotonic() + _EVERY_SECONDS

    def __call__(self, progress: Progress) -> None:
        """Take one event."""
        finished = progress.bytes_total > 0 and progress.bytes_done >= progress.bytes_total
        if not finished and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_SECONDS
        self._log.info("%s", self._describe(self._label, progress))
