"""The only wall clock of the engine, and the deadlines of all waits.

Differences between times are measured by the monotonic clock. The wall clock only gives restore points and notes their
times.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from vmkeep.errors import DeadlineError


def now() -> datetime:
    """Return the current time as an aware UTC datetime."""
    return datetime.now(UTC)


class Deadline:
    """The end of a wait, in monotonic time. A wait that reaches it stops with an error that says what it waited for."""

    def __init__(self, seconds: float, *, waiting_for: str) -> None:
        """Start the deadline.

        :param seconds: time from now.
        :param waiting_for: the awaited thing, for the error.
        """
        self._at = time.monotonic() + seconds
        self._seconds = seconds
        self._waiting_for = waiting_for

    @property
    def remaining(self) -> float:
        """Seconds that are left; never negative."""
        return max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Return if time is left.

        :raises DeadlineError: the deadline has passed.
        """
        if time.monotonic() >= self._at:
            raise DeadlineError(waiting_for=self._waiting_for, seconds=self._seconds)

    def pause(self, seconds: float) -> None:
        """Sleep, but not past the deadline.

        :raises DeadlineError: the deadline had passed before.
        """
        self.check()
        time.sleep(min(seconds, self.remaining))
