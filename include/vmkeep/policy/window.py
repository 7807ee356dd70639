"""Backup windows: the times between which backups may start, by the clock of a place.

The clock decides, not the hours that pass. So a window from 22:00 to 06:00 also ends at six in a night in which the
clock is changed:

- A time that the clock leaps over stands for the moment of the leap. A window that lies in the leap as a whole opens
  then, and lasts as long as on other days: no night goes without its backup.
- A time that the clock shows twice stands for the first of the two.

A window whose end is not after its start ends on the next day. Its day is that on which it opens. A blackout date bars
a whole day: no window opens on it, and one that runs into it ends at midnight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.point import stamp_of
from vmkeep.retention import parse_zone

OPENS_WITHIN = timedelta(minutes=5)
"""Time after its opening in which a scheduler may still make the run of a window, so that no alarm is due."""
_DAY = timedelta(days=1)
_FURTHEST = 366 * 5
"""Days to look ahead for an opening. They reach the next 29th of February, and end the search if there is none."""
_AROUND = 2
"""Days before and after a moment on which the window around the moment may have opened."""


class Weekday(StrEnum):
    """The days of the week, in their order."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WEEK = tuple(Weekday)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blackout:
    """Days without backups, the last one included."""

    first: date
    last: date

    def bars(self, day: date) -> bool:
        """Return whether a day is one of them."""
        return self.first <= day <= self.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A single window, with the moments at which it opens and closes, in UTC."""

    opens_at: datetime
    closes_at: datetime

    def holds(self, moment: datetime) -> bool:
        """Return whether a moment lies in the window, without the moment at which it closes."""
        return self.opens_at <= moment < self.closes_at

    @property
    def length(self) -> timedelta:
        """The time from its opening to its closing."""
        return self.closes_at - self.opens_at

    @property
    def stamp(self) -> str:
        """The window's name, which is the moment at which it opens."""
        return stamp_of(self.opens_at)


class Due(StrEnum):
    """The state of a window at the time when its backups could start."""

    OPEN = "open"
    CAUGHT_UP = "caught up"
    """It has closed, and its backups are made up for, spread out."""
    MISSED = "missed"
    """It has closed, and is not to be made up for."""
    SUPERSEDED = "superseded"
    """A later window has opened, and backs up the same VMs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The windows of a policy."""

    start: time
    end: time
    """Not after ``start``: on the next day."""
    zone: tzinfo
    days: frozenset[Weekday]
    blackouts: tuple[Blackout, ...] = ()

    def __str__(self) -> str:
        """Return it for a person, e.g. ``22:00 to 06:00 Europe/Berlin, mon fri``."""
        days = "" if len(self.days) == len(_WEEK) else f", {' '.join(day for day in _WEEK if day in self.days)}"
        return f"{self.start:%H:%M} to {self.end:%H:%M} {self.zone}{days}"

    def window_at(self, moment: datetime) -> Opening | None:
        """Return the window that is open at a moment."""
        found = [opening for opening in self._around(moment) if opening.holds(moment)]
        return found[-1] if found else None

    def next_opening(self, moment: datetime) -> Opening | None:
        """Return the first window that opens after a moment; ``None``: none does in the next five years."""
        today = self._local_date(moment)
        openings = self._openings(_days(today - _DAY, _FURTHEST))
        return next((opening for opening in openings if opening.opens_at > moment), None)

    def last_opening(self, moment: datetime) -> Opening | None:
        """Return the last window that opened at a moment or before it, be it still open or not.

        ``None``: none did in the five years before.
        """
        days = _days(self._local_date(moment) + _DAY, _FURTHEST, back=True)
        return next((opening for opening in self._openings(days) if opening.opens_at <= moment), None)

    def due(self, opened_at: datetime, *, now: datetime, catch_up: bool) -> tuple[Due, Opening]:
        """Return how a window is to be treated that was to open at a moment, and the time in which backups may start.

        A window that is caught up lasts as long as always from now on, but not into the next one. One that the policy
        no longer has, because it was moved after it was planned, is treated as if a person had asked for it.
        """
        opening = self.window_at(opened_at) or self.by_hand(opened_at)
        if opening.holds(now):
            return Due.OPEN, opening
        last = self.last_opening(now)
        if last is not None and last.opens_at > opened_at:
            return Due.SUPERSEDED, opening
        if not catch_up:
            return Due.MISSED, opening
        coming = self.next_opening(now)
        end = now + opening.length
        return Due.CAUGHT_UP, Opening(opens_at=now, closes_at=min(end, coming.opens_at) if coming else end)

    def by_hand(self, moment: datetime) -> Opening:
        """Return the time in which backups may start that a person asks for outside of the plan.

        It ends with the window that is open, or else lasts as long as the next one.
        """
        if (opening := self.window_at(moment)) is not None:
            return Opening(opens_at=moment, closes_at=opening.closes_at)
        coming = self.next_opening(moment)
        return Opening(opens_at=moment, closes_at=moment + (coming.length if coming else _DAY))

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data, from which :meth:`from_plain` makes an equal one."""
        return {
            "start": self.start.isoformat("minutes"),
            "end": self.end.isoformat("minutes"),
            "time_zone": str(self.zone),
            "days": [day.value for day in _WEEK if day in self.days],
            "blackout": [[blackout.first.isoformat(), blackout.last.isoformat()] for blackout in self.blackouts],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Window:
        """Return the window that plain data describe."""
        return cls(
            start=time.fromisoformat(plain["start"]),
            end=time.fromisoformat(plain["end"]),
            zone=parse_zone(plain["time_zone"]),
            days=frozenset(map(Weekday, plain["days"])),
            blackouts=tuple(
                Blackout(first=date.fromisoformat(first), last=date.fromisoformat(last))
                for first, last in plain["blackout"]
            ),
        )

    def _around(self, moment: datetime) -> list[Opening]:
        first = self._local_date(moment) - _AROUND * _DAY
        return list(self._openings(_days(first, 2 * _AROUND + 1)))

    def _local_date(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def _openings(self, days: Iterable[date]) -> Iterator[Opening]:
        for day in days:
            if _WEEK[day.weekday()] in self.days and not self._is_barred(day):
                yield self._opening_on(day)

    def _opening_on(self, day: date) -> Opening:
        over_midnight = self.end <= self.start
        last_day = day + _DAY if over_midnight else day
        opens_at = moment_of(datetime.combine(day, self.start), self.zone)
        closes_at = moment_of(datetime.combine(last_day, self.end), self.zone)
        if closes_at <= opens_at:  # the clock leaps over all of it
            closes_at = opens_at + (datetime.combine(last_day, self.end) - datetime.combine(day, self.start))
        if over_midnight and self._is_barred(last_day):
            closes_at = min(closes_at, moment_of(datetime.combine(last_day, time()), self.zone))
        return Opening(opens_at=opens_at, closes_at=closes_at)

    def _is_barred(self, day: date) -> bool:
        return any(blackout.bars(day) for blackout in self.blackouts)


def moment_of(local: datetime, zone: tzinfo) -> datetime:
    """Return the moment, in UTC, at which a place's clock shows a time: the first one, or that of the leap over it.

    :param local: without a time zone.
    """
    moment = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local:
        return moment
    return _leap_between(local.replace(tzinfo=zone, fold=1).astimezone(UTC), moment, zone)


def _leap_between(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """Return the first second at which the clock has another offset than at ``before``."""
    offset = before.astimezone(zone).utcoffset()
    low, high = 0, int((after - before) / timedelta(seconds=1))
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(zone).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def _days(first: date, number: int, *, back: bool = False) -> Iterator[date]:
    for distance in range(number):
        try:
            yield first - distance * _DAY if back else first + distance * _DAY
        except OverflowError:
            return
