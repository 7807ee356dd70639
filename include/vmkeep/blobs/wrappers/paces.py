"""Knows the paces of this process by location, so that a rate can be changed while stores use it."""

from __future__ import annotations

from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from vmkeep.blobs.wrappers.rates import RateSchedule, parse_rates
from vmkeep.blobs.wrappers.throttled import Pace
from vmkeep.blobs.wrappers.timetables import OwnTimetable, Timetable, timetable_for

_lock: Final = Lock()
_known: Final[WeakKeyDictionary[Pace, tuple[str, str]]] = WeakKeyDictionary()
"""The location of each pace's store: as it was given, and as the store tells it."""


def pace_for(given: str, location: str, limit_rate: str | None) -> Pace:
    """Return a new pace for a store, which :func:`change_rate` can change.

    :param given: the location as the caller of :func:`~vmkeep.blobs.open_store` wrote it.
    :param location: the location in the store's own words, which all processes that use it share.
    :param limit_rate: as :func:`~vmkeep.blobs.wrappers.parse_rates` reads it; ``None``: there is no limit.
    :raises UsageError: the rate does not parse.
    """
    pace = Pace(*_plan(location, limit_rate))
    with _lock:
        _known[pace] = (given, location)
    return pace


def change_rate(given: str, limit_rate: str | None) -> None:
    """Let all stores of this process at a location keep to another rate from now on. Any thread may call it.

    :param given: the location as it was written when the stores were opened.
    :param limit_rate: as in :func:`pace_for`.
    :raises UsageError: the rate does not parse. Then nothing has changed.
    """
    with _lock:
        paces = [(pace, location) for pace, (known, location) in _known.items() if known == given]
    for pace, location in paces:
        pace.change(*_plan(location, limit_rate))


def _plan(location: str, limit_rate: str | None) -> tuple[RateSchedule, Timetable]:
    if not limit_rate:
        return RateSchedule(), OwnTimetable()
    rates = parse_rates(limit_rate)  # before the timetable, which is a file
    return rates, timetable_for(f"{location} {limit_rate}")
