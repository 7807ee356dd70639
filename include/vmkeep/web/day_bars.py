"""Draws one day as bars of minutes: a window, the times of its backups, and how many of them ran at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Final

from vmkeep.lateclass import dataclass

DAY: Final = timedelta(days=1)
_SLOT: Final = 15
"""Minutes of one bar."""
_MINUTES: Final = 24 * 60
_HEIGHT: Final = 36
_NARROWEST: Final = 4
"""Minutes of the bar of a backup, so that a short one is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayBar:
    """A bar in the drawing of a day, in minutes of that day, and its class in the style sheet."""

    x: int
    width: int
    y: float
    height: float
    kind: str


def bounds_of(day: date) -> tuple[datetime, datetime]:
    """Return the beginning of a day and that of the next one."""
    begin = datetime.combine(day, time(), UTC)
    return begin, begin + DAY


def day_bars(
    opens_at: datetime, closes_at: datetime | None, backups: Iterable[tuple[datetime | None, datetime]], day: date
) -> tuple[tuple[DayBar, ...], int]:
    """Return the drawing of a window, and the most backups at once: its band, and a bar for each time of day.

    :param closes_at: ``None``: nobody knows, so that no backup is too late.
    :param backups: start and end of each; those without a start are left out.
    """
    slots = [0] * (_MINUTES // _SLOT)
    for begun_at, ended_at in backups:
        if (span := _span(begun_at, ended_at, day)) is not None:
            first, stop = span[0] // _SLOT, max(span[0] // _SLOT + 1, -(-span[1] // _SLOT))
            for number in range(first, min(stop, len(slots))):
                slots[number] += 1
    peak = max(slots)
    bars = list(band(opens_at, closes_at or opens_at, day))
    end = _MINUTES if closes_at is None else (closes_at - bounds_of(day)[0]).total_seconds() / 60
    numbered = ((number * _SLOT, count, number * _SLOT >= end) for number, count in enumerate(slots))
    for (count, is_over), group in groupby(numbered, key=lambda slot: slot[1:]):
        places = [place for place, _, _ in group]
        if count:
            height = round((_HEIGHT - 4) * count / peak, 1)
            bars.append(
                DayBar(
                    x=places[0], width=_SLOT * len(places), y=round(_HEIGHT - height, 1), height=height,
                    kind="over" if is_over else "ran",
                )
            )  # fmt: skip
    return tuple(bars), peak


def band(opens_at: datetime, closes_at: datetime, day: date) -> Iterator[DayBar]:
    """Yield the bar behind the others that shows when a window is open."""
    if (span := _span(opens_at, closes_at, day)) is not None:
        yield DayBar(x=span[0], width=max(1, span[1] - span[0]), y=0, height=_HEIGHT, kind="band")


def time_bar(begun_at: datetime | None, ended_at: datetime, day: date, kind: str) -> Iterator[DayBar]:
    """Yield the bar of one backup, if it ran on the day."""
    if (span := _span(begun_at, ended_at, day)) is not None:
        yield DayBar(x=span[0], width=max(_NARROWEST, span[1] - span[0]), y=0, height=_HEIGHT, kind=kind)


def _span(begun_at: datetime | None, ended_at: datetime, day: date) -> tuple[int, int] | None:
    """Return the minutes of a day that a time covers; ``None``: none."""
    begin, end = bounds_of(day)
    if begun_at is None or begun_at >= end or ended_at < begin:
        return None
    return minute_of(max(begun_at, begin), day), minute_of(min(ended_at, end), day)


def minute_of(at: datetime, day: date) -> int:
    """Return the minute of a day at which a time is."""
    return int((at - bounds_of(day)[0]).total_seconds() // 60)
