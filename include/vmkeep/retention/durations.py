"""Parses lengths of time as people write them: ``36h``, ``14d``, ``8w``, ``2y``."""

from __future__ import annotations

import re
from datetime import timedelta

from vmkeep.errors import UsageError

LONGEST = timedelta(days=36600)
"""About a hundred years. No calculation with dates has to reach further."""
_UNITS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=366),  # because a day more only keeps points longer, and a day less would lose them
}


def parse_duration(text: str) -> timedelta:
    """Parse a number of hours, days, weeks or years. A year has 366 days.

    :raises UsageError: the text is no length of time, or it is zero or over a hundred years.
    """
    match = re.fullmatch(r"(\d{1,6})([hdwy])", text.strip().lower(), re.ASCII)
    length = int(match[1]) * _UNITS[match[2]] if match else timedelta()
    if not timedelta() < length <= LONGEST:
        raise UsageError(f"'{text}' is no length of time; write 36h, 14d, 8w or 2y (at most 100y)")
    return length
