"""Times as commands show them to people: by the clock of the time zone that is set. A document for a script has UTC."""

from __future__ import annotations

from datetime import datetime, tzinfo

from vmkeep.cli.configuration import value_of
from vmkeep.cli.settings import TIME_ZONE
from vmkeep.retention import parse_zone


def shown_zone() -> tzinfo:
    """Return the time zone in which times are shown: the one that is set, or UTC.

    :raises UsageError: this machine does not know the time zone that is set.
    """
    return parse_zone(value_of(TIME_ZONE) or "UTC")


def shown_time(moment: datetime, zone: tzinfo) -> str:
    """Return a time by a zone's clock, to the minute."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M}"


def shown_second(moment: datetime, zone: tzinfo) -> str:
    """Return a time by a zone's clock, to the second."""
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"
