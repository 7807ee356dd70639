"""Lengths of time as people write them: ``36h``, ``14d``, ``8w``, ``2y``."""

from __future__ import annotations

import re
from datetime import timedelta

from vmkeep.errors import UsageError

LONGEST = timedelta(days=36600)
"""About a hundred years; further than that no calendar arithmetic has to reach."""
_UNITS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=366),  # a day too long is kept, a day too short is lost
}


def parse_duration(text: str) -> timedelta:
    """Return the length of time that a number of hours, days, weeks or years stands for; a year has 366 days.

    :raises UsageError: it is none, or zero, or over a hundred years.
    """
    match = re.fullmatch(r"(\d{1,6})([hdwy])", text.strip().lower(), re.ASCII)
    length = int(match[1]) * _UNITS[match[2]] if match else timedelta()
    if not timedelta() < length <= LONGEST:
        raise UsageError(f"'{text}' is no length of time; write 36h, 14d, 8w or 2y (at most 100y)")
    return length
