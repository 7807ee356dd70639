"""Slices of a repository's packs: each day reads another slice, and after n days all data has been read."""

from __future__ import annotations

from datetime import datetime

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass

_EPOCH = 719163
"""The ordinal of 1970-01-01. Days are counted from there, so that every machine agrees on the day's slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Part ``part`` of ``of`` equal parts of all packs, counted from 1. A pack never changes its slice."""

    number: int
    of: int

    def __post_init__(self) -> None:
        """Refuse a number that is not from 1 to ``of``."""
        if not 1 <= self.number <= self.of:
            raise UsageError(f"slice {self.number}/{self.of}: write k/n, with k from 1 to n")

    def holds(self, pack: bytes) -> bool:
        """Return whether a pack is in this slice. Pack ids are random, so all slices have about the same size."""
        return int.from_bytes(pack[-8:], "big") % self.of == self.number - 1

    def __str__(self) -> str:
        """``3/30``."""
        return f"{self.number}/{self.of}"


def slice_of_day(day: datetime, of: int) -> Slice:
    """Return the slice of a day. Within ``of`` consecutive days, each slice has its turn once."""
    if of < 1:
        raise UsageError(f"slice today/{of}: write today/n, with n from 1")
    return Slice(number=(day.date().toordinal() - _EPOCH) % of + 1, of=of)


def parse_slice(text: str, *, today: datetime) -> Slice:
    """Return the slice that a text such as ``3/30`` or ``today/30`` names.

    :raises UsageError: the text has another form.
    """
    number, slash, of = text.partition("/")
    if not (slash and of.isdecimal() and (number == "today" or number.isdecimal())):
        raise UsageError(f"slice '{text}': write k/n, such as 3/30, or today/n")
    return slice_of_day(today, int(of)) if number == "today" else Slice(number=int(number), of=int(of))
