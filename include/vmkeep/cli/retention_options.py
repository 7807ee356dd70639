"""The options that make a retention rule, for every command that applies or shows one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, TypeVar

from vmkeep.cli.pages import Section, option
from vmkeep.cli.settings import TIME_ZONE
from vmkeep.errors import UsageError
from vmkeep.retention import RetentionRule, parse_duration, parse_zone

F = TypeVar("F", bound=Callable[..., Any])

_KINDS = {
    "last": "the last N points, whenever they were taken",
    "hourly": "the newest point of each of the last N hours that have one",
    "daily": "the newest point of each of the last N days that have one",
    "weekly": "the newest point of each of the last N weeks (from Monday) that have one",
    "monthly": "the newest point of each of the last N months that have one",
    "yearly": "the newest point of each of the last N years that have one",
}


def retention_options(function: F) -> F:
    """Add the options of a rule; the function gets ``rule`` (``None``: none of them was given) and ``zone``."""

    @functools.wraps(function)
    def with_rule(*args: Any, keep_within: str | None, time_zone: str, **options: Any) -> Any:
        counts = {f"keep_{kind}": options.pop(f"keep_{kind}") for kind in _KINDS}
        within = None if keep_within is None else parse_duration(keep_within)
        given = within is not None or any(count is not None for count in counts.values())
        rule = RetentionRule(**counts, keep_within=within) if given else None
        return function(*args, rule=rule, zone=parse_zone(time_zone), **options)

    decorated: Any = with_rule
    for add_option in reversed(_options()):
        decorated = add_option(decorated)
    result: F = decorated
    return result


def _options() -> list[Callable[[Any], Any]]:
    counts = [
        option(f"--keep-{kind}", section=Section.KEEP, type=int, metavar="N", help=f"Keep {what}.")
        for kind, what in _KINDS.items()
    ]
    within = option("--keep-within", section=Section.KEEP, metavar="LENGTH",
                    help="Keep all points that are younger than 36h, 14d, 8w or 2y.")  # fmt: skip
    zone = option("--time-zone", section=Section.KEEP, setting=TIME_ZONE, default="UTC", show_default=True,
                  metavar="ZONE", help="Where days, weeks, months and years begin, e.g. Europe/Berlin.")  # fmt: skip
    return [*counts, within, zone]


def parse_time(text: str, zone: tzinfo) -> datetime:
    """Return the time of a date (its midnight) or of a date and time, in ``zone`` unless the text names another.

    :raises UsageError: the text is neither.
    """
    try:
        given = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"'{text}' is not a time: write 2026-11-19 or 2026-11-19T22:00") from error
    return given if given.tzinfo is not None else given.replace(tzinfo=zone)


def parse_end(text: str, *, now: datetime) -> datetime:
    """Return the end that a text names: after a length of time (``90d``), at a time, or when a date's day ends.

    :raises UsageError: the text is none of these.
    """
    if text[:1].isdigit() and text[-1:].lower() in ("h", "d", "w", "y"):
        return now + parse_duration(text)
    try:
        end = parse_time(text, UTC)
    except UsageError as error:
        raise UsageError(
            f"'{text}' is not an end: write 90d, 8w or 2y from now, a date (2026-11-19), or a time"
        ) from error
    return end + timedelta(days=1) if len(text) <= len("2026-11-19") else end
