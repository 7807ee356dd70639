"""Counts the calls of the library, their seconds, and the bytes that they moved."""

from __future__ import annotations

import threading
from dataclasses import replace

from vmkeep.model.diskaccess import CallTiming


class Timings:
    """The rows of the table. The owner thread and the library's own threads fill them."""

    def __init__(self) -> None:
        self._rows: dict[str, CallTiming] = {}
        self._lock = threading.Lock()

    def note(self, name: str, seconds: float, size: int = 0) -> None:
        """Count one call.

        :param size: bytes that the call moved.
        """
        with self._lock:
            row = self._rows.get(name) or CallTiming(name=name, calls=0, seconds=0.0, longest=0.0, bytes=0)
            self._rows[name] = replace(
                row,
                calls=row.calls + 1,
                seconds=row.seconds + seconds,
                longest=max(row.longest, seconds),
                bytes=row.bytes + size,
            )

    def rows(self) -> tuple[CallTiming, ...]:
        """Return the rows, those with the most time first."""
        with self._lock:
            return tuple(sorted(self._rows.values(), key=lambda row: -row.seconds))
