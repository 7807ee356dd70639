"""Parses the times that people write about recoveries. A time without a zone is refused, because it means two times."""

from __future__ import annotations

from datetime import datetime

from vmkeep.errors import UsageError

EXAMPLE = "2026-11-20T03:00:00+01:00"


def parse_moment(text: str) -> datetime:
    """Return the time that a text in ISO 8601 means.

    :raises UsageError: it is none, or has no time zone.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"'{text}' is no time such as {EXAMPLE}") from None
    if found.tzinfo is None:
        raise UsageError(f"'{text}' has no time zone: write it as in {EXAMPLE}")
    return found
