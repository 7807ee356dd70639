"""Tracks the position up to which a copy has no gap, while its pieces arrive in any order."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from vmkeep.model.extents import Extent


class Position:
    """The offset below which every planned byte is done. Thread-safe. It remembers only pieces beyond the offset."""

    def __init__(self, extents: Sequence[Extent], *, end: int) -> None:
        self._extents = extents
        self._end = end
        self._next = 0
        self._ahead: dict[int, int] = {}
        self._lock = threading.Lock()
        self._low = extents[0].start if extents else end

    def done(self, start: int, stop: int) -> None:
        """Note that the piece from ``start`` to ``stop`` is done."""
        with self._lock:
            self._ahead[start] = stop
            while (stop := self._ahead.pop(self._low, -1)) >= 0:
                self._low = stop
                if self._low == self._extents[self._next].stop:
                    self._next += 1
                    self._low = self._extents[self._next].start if self._next < len(self._extents) else self._end

    @property
    def low(self) -> int:
        """Every planned byte below this offset is done. At the end it is the end of the disk."""
        return self._low
