"""Parses retention rules and time zones as people write them: ``daily 14, weekly 8, within 14d``; ``Europe/Berlin``.

``str`` of a rule gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, tzinfo

from vmkeep.errors import UsageError
from vmkeep.retention.durations import parse_duration
from vmkeep.retention.rule import RetentionRule

KINDS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
"""The kinds of a rule that keep a number of points."""
WITHIN = "within"


def make_rule(keep: Mapping[str, object]) -> RetentionRule | None:
    """Make a rule of a form's fields: a number for each of :data:`KINDS`, and a length of time for ``within``.

    :param keep: values by field. A field that is missing, ``None`` or empty is not set.
    :returns: the rule; ``None``: no field is set.
    :raises UsageError: a field is unknown, or its value is not valid.
    """
    given = {kind: str(value).strip() for kind, value in keep.items() if value not in (None, "")}
    if unknown := sorted(given.keys() - {*KINDS, WITHIN}):
        raise UsageError(f"'{unknown[0]}' is nothing that is kept; write {', '.join(KINDS)} or {WITHIN}")
    if not given:
        return None
    within = given.pop(WITHIN, None)
    return RetentionRule(
        **{f"keep_{kind}": _number(kind, value) for kind, value in given.items()},
        keep_within=None if within is None else parse_duration(within),
    )


def parse_rule(text: str) -> RetentionRule:
    """Parse a rule such as ``daily 14, weekly 8, within 14d``.

    :raises UsageError: the text is no rule.
    """
    keep: dict[str, object] = {}
    for part in text.split(","):
        kind, _, value = part.strip().partition(" ")
        if not value or kind in keep:
            raise UsageError(f"retention '{text}': write each kind once, such as daily 14, weekly 8, within 14d")
        keep[kind] = value
    rule = make_rule(keep)
    assert rule is not None  # each part has a value
    return rule


def parse_zone(name: str) -> tzinfo:
    """Return a time zone.

    :raises UsageError: this machine knows no time zone of that name.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"'{name}' is no time zone that this machine knows; write it as in Europe/Berlin") from error


def _number(kind: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise UsageError(f"retention: {kind} takes a number such as 14, not '{text}'")
    return int(text)
