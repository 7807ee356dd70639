"""Waits for room within a limit, in a process that stays. A task of Airflow ends instead, and is started again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from vmkeep.errors import CancelledError, LimitReachedError

LONGEST_PAUSE: Final = 15.0
"""Seconds between two tries. A try of a copy starts a process."""

T = TypeVar("T")


def in_turn(
    work: Callable[[], T],
    *,
    announce: Callable[[str], None],
    stopped: threading.Event | None = None,
) -> T:
    """Do a work, and do it again as long as a limit leaves no room for it.

    :param announce: takes the reason for the wait, once.
    :param stopped: ends the wait.
    :raises DeadlineError: the work itself has given up, because the limit left no room for a day.
    """
    stopped = stopped or threading.Event()
    announced = False
    while True:
        try:
            return work()
        except LimitReachedError as error:
            if not announced:
                announce(str(error))
            announced = True
            if stopped.wait(min(error.again_after, LONGEST_PAUSE)):
                raise CancelledError("stopped while it waited for room within a limit") from error
