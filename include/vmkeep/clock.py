"""The only wall clock of the engine, and the deadlines that every wait carries.

Differences between times are taken from the monotonic clock; the wall clock only
labels restore points and leaves.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from vmkeep.errors import DeadlineError


def now() -> datetime:
    """Return the current time as an aware UTC datetime."""
    return datetime.now(UTC)


class Deadline:
    """A point in monotonic time after which a wait has to stop and say what it waited for."""

    def __init__(self, seconds: float, *, waiting_for: str) -> None:
        self._at = time.monotonic() + seconds
        self._seconds = seconds
        self._waiting_for = waiting_for

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Raise :class:`DeadlineError` once the deadline has passed."""
        if time.monotonic() >= self._at:
            raise DeadlineError(waiting_for=self._waiting_for, seconds=self._seconds)

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the deadline; raise if it has passed."""
        self.check()
        time.sleep(min(seconds, self.remaining))
