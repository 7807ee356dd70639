"""Compares the clock of a server with that of this machine."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from vmkeep.clock import now
from vmkeep.flows.doctor.values import Answer, fault, ok, warning

_SMALL: Final = timedelta(seconds=60)
_LARGE: Final = timedelta(minutes=10)
"""S3 refuses requests whose time differs by 15 minutes."""
_REMEDY: Final = "let both keep their time by NTP: points, locks and log-ins carry times"


def compare(ask: Callable[[], datetime], what: str) -> Answer:
    """Ask for a time, and compare it with the time here, in the middle of the question and the answer."""
    before = now()
    told = ask()
    after = now()
    return judge(difference(told, before, after), what)


def difference(told: datetime, before: datetime, after: datetime) -> timedelta:
    """Return by how much a clock is ahead, by the time it told between two times of the clock here. Pure."""
    return told - (before + (after - before) / 2)


def judge(ahead: timedelta, what: str) -> Answer:
    """Return whether a clock is right. Pure.

    :param ahead: its time less the time here.
    """
    apart = abs(ahead)
    seconds = f"{apart.total_seconds():.0f} s"
    if apart <= _SMALL:
        return ok(f"{what} and the one of this machine are {seconds} apart")
    side = "ahead of" if ahead > timedelta(0) else "behind"
    state = fault if apart > _LARGE else warning
    return state(f"{what} is {seconds} {side} the one of this machine", _REMEDY)
