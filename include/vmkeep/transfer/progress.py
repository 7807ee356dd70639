"""Makes progress events with bytes, rate and remaining time, from counters that many threads feed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from vmkeep.model.job import Cursor, Progress

_WINDOW = 10.0
"""Seconds over which the rate is measured."""

OnProgress = Callable[[Progress], None]


class ProgressCounter:
    """Counts one transfer's bytes. :meth:`add` is thread-safe; only one thread may call :meth:`event`."""

    def __init__(self, phase: str, total: int, *, done: int = 0) -> None:
        self._phase = phase
        self._total = total
        self._done = done
        self._lock = threading.Lock()
        self._samples = deque([(time.monotonic(), done)])

    @property
    def done(self) -> int:
        """Bytes that are done."""
        return self._done

    def add(self, count: int) -> None:
        """Count bytes as done."""
        with self._lock:
            self._done += count

    def event(self, *, stored: int = 0, cursor: Cursor | None = None) -> Progress:
        """Return an event with the present state of the transfer."""
        clock, done = time.monotonic(), self._done
        self._samples.append((clock, done))
        while len(self._samples) > 2 and clock - self._samples[0][0] > _WINDOW:
            self._samples.popleft()
        then, before = self._samples[0]
        rate = (done - before) / (clock - then) if clock > then else 0.0
        eta = (self._total - done) / rate if rate else None
        return Progress(
            phase=self._phase,
            bytes_done=done,
            bytes_total=self._total,
            bytes_stored=stored,
            rate=rate,
            eta_seconds=eta,
            cursor=cursor,
        )
