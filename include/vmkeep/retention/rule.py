"""Decides which restore points a retention rule keeps, and for which reasons. Pure: it removes nothing.

The rules apply to each VM, in this order. VMs of two vCenters are two VMs, even if one has the UUID of the other; and
so are two managed objects of one vCenter with one UUID, of which one may be a copy of the other.

- A point from the future is kept, because a clock was wrong. It fills no bucket, so that it replaces no real point.
- If a VM has no good point, all its points are kept, because a person has to look.
- The **newest** good point of a bucket (hour, day, ISO week, month, year, in the rule's time zone) represents it. The
  points of the newest N buckets that have one are kept. It is the newest, because then a point that was dropped once
  would never be kept later. So the result does not depend on how often the rule was applied before.
- ``keep_last`` works in the same way, with one bucket for every point.
- Damaged points represent no bucket. A damaged point is dropped only if a good point represents each bucket for which
  it would be kept. Until then all damaged points of that bucket are kept, because each may have lost different data.
- The newest good point is always kept, and so is every point that is pinned or in use. Neither changes anything for
  other points.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from itertools import groupby
from typing import TypeAlias

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.point import settled_vcenters
from vmkeep.retention.durations import LONGEST

Bucket: TypeAlias = tuple[int, ...]
"""Identifies a bucket: equal for all its points, and greater for later buckets."""


class Cause(StrEnum):
    """The kinds of reasons that keep a point."""

    LAST = "last"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"
    WITHIN = "within"
    PINNED = "pinned"
    IN_USE = "in-use"
    """A process reads the point."""
    NEWEST = "newest"
    """The point is the VM's newest good one, and no other reason keeps it."""
    NO_GOOD = "no-good"
    """No point of the VM is known to be good."""
    FUTURE = "future"
    """The point's time is later than now, so that a clock was wrong."""
    NO_RULE = "no-rule"
    """No rule says which points of the VM stay."""
    UNKNOWN_RULE = "unknown-rule"
    """The VM belongs to a policy whose rule nobody can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepReason:
    """A reason to keep a point."""

    cause: Cause
    text: str
    """The reason for people to read, e.g. ``daily 2026-11-19``."""

    def __str__(self) -> str:
        """Return the text."""
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class PointFacts:
    """The facts of a restore point that retention uses."""

    ref: str
    vm_key: str
    vm_name: str = ""
    """Name for people to read; empty: it is not known."""
    vcenter: str | None = None
    """UUID of the vCenter where the point was taken; ``None``: there was none, or it is not known."""
    moref: str | None = None
    """The VM's managed object id there; ``None``: it is not known."""
    taken_at: datetime
    good: bool = True
    """The point is not known to be damaged."""
    readable: bool = True
    """Its manifest can be read."""
    pinned: bool = False
    in_use: str = ""
    """The processes that read it, in words; empty: none does."""
    policy: str | None = None
    """Name of the policy that it was made for; ``None``: a person made it, or the manifest does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionDecision:
    """The decision about one point."""

    point: PointFacts
    reasons: tuple[KeepReason, ...]
    """Reasons to keep it; empty: the point goes."""
    rule: str = ""
    """The rule that decided, with its owner, e.g. ``policy nightly: daily 14``; empty: the caller knows, or none is."""

    @property
    def keep(self) -> bool:
        """The point stays."""
        return bool(self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """The number of points of each kind that stay; ``None``: that kind keeps nothing. At least one must be set."""

    keep_last: int | None = None
    keep_hourly: int | None = None
    keep_daily: int | None = None
    keep_weekly: int | None = None
    keep_monthly: int | None = None
    keep_yearly: int | None = None
    keep_within: timedelta | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that would keep nothing, or a number that makes no sense."""
        given = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}
        if not given:
            raise UsageError("a retention rule that keeps nothing would delete all restore points but one of every VM")
        for name, value in given.items():
            if isinstance(value, timedelta):
                if not timedelta() < value <= LONGEST:
                    raise UsageError(f"{name} has to be over zero and at most {LONGEST.days} days, not {value}")
            elif value < 1:
                raise UsageError(f"{name} has to be at least 1, not {value}; leave it out if it is to keep nothing")

    def __str__(self) -> str:
        """Return the rule as its options, e.g. ``last 7, daily 14``."""
        given = ((field.name.removeprefix("keep_"), getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {_short(value)}" for name, value in given if value is not None)


def decide(
    points: Iterable[PointFacts], rule: RetentionRule, *, now: datetime, zone: tzinfo, first: str | None = None
) -> list[RetentionDecision]:
    """Decide for every point whether it stays, with the reasons. The module's text has the rules.

    :param now: an aware time. Points after it are kept.
    :param zone: the rule's time zone, in which days, weeks, months and years begin.
    :param first: name of a policy whose points represent a bucket before newer points of others do; ``None``: the
        newest point represents it, whoever asked for it.
    :returns: one decision for each point, sorted by VM, then by time.
    """
    if now.tzinfo is None:
        raise ValueError("now must carry a time zone")
    now = now.astimezone(UTC)  # because arithmetic in a zone with summer time can be hours off
    verdicts: list[RetentionDecision] = []
    for of_vm in points_by_vm(points):
        verdicts += _mark_vm(of_vm, rule, now, zone, first)
    return sorted(verdicts, key=lambda verdict: (verdict.point.vm_key, verdict.point.taken_at, verdict.point.ref))


def left_bare(points: Iterable[PointFacts], *, going: Collection[str], claimed: Container[str]) -> list[PointFacts]:
    """Return the VMs that a deletion would leave without a good point, each by its newest point that goes.

    :param points: all points of the VMs concerned.
    :param going: refs of the points to delete.
    :param claimed: refs of points that other processes may be deleting, so that they count as gone.
    """
    bare = []
    for of_vm in points_by_vm(points):
        gone = [point for point in of_vm if point.ref in going]
        if gone and not any(point.good for point in of_vm if point.ref not in going and point.ref not in claimed):
            bare.append(gone[-1])
    return bare


def points_by_vm(points: Iterable[PointFacts]) -> Iterator[list[PointFacts]]:
    """Yield the points of each VM, sorted by time."""
    ordered = sorted(points, key=lambda point: (point.vm_key, point.taken_at, point.ref))
    for _, of_key in groupby(ordered, key=lambda point: point.vm_key):
        yield from _apart(list(of_key))


def _apart(points: Sequence[PointFacts]) -> list[list[PointFacts]]:
    """Divide the points of one key by vCenter and managed object, because a copy of a VM beside it is another VM.

    A VM that was registered again is another object, too. Its earlier points stay as those of a VM that is gone. No
    time tells the two cases apart for certain: a copy may be backed up each day, and its original once a month.
    """
    parts: dict[tuple[str | None, str | None], list[PointFacts]] = {}
    for point, vcenter in zip(points, settled_vcenters([point.vcenter for point in points]), strict=True):
        parts.setdefault((vcenter, point.moref), []).append(point)
    return list(parts.values())


def _mark_vm(
    points: Sequence[PointFacts], rule: RetentionRule, now: datetime, zone: tzinfo, first: str | None
) -> list[RetentionDecision]:
    """Decide about the points of one VM.

    :param points: sorted by time.
    """
    reasons = {point.ref: list(_own_reasons(point, now)) for point in points}
    past = [point for point in points if point.taken_at <= now]
    good = [point for point in past if point.good]
    if not good:
        for point in past:
            reasons[point.ref].append(KeepReason(cause=Cause.NO_GOOD, text="no point of this VM is known to be good"))
    else:
        for cause, count in _counts(rule):
            for point, reason in _by_bucket(past, cause, count, zone, first):
                reasons[point.ref].append(reason)
        if rule.keep_within is not None:
            text = f"within {_short(rule.keep_within)}"
            for point in past:
                if point.taken_at > now - rule.keep_within:
                    reasons[point.ref].append(KeepReason(cause=Cause.WITHIN, text=text))
        if not reasons[good[-1].ref]:
            reasons[good[-1].ref].append(KeepReason(cause=Cause.NEWEST, text="newest good point of this VM"))
    return [RetentionDecision(point=point, reasons=tuple(reasons[point.ref])) for point in points]


def _own_reasons(point: PointFacts, now: datetime) -> Iterator[KeepReason]:
    """Yield the reasons that keep a point whatever the rule says."""
    if point.taken_at > now:
        yield KeepReason(cause=Cause.FUTURE, text="taken in the future: a clock was wrong")
    if point.pinned:
        yield KeepReason(cause=Cause.PINNED, text="pinned")
    if point.in_use:
        yield KeepReason(cause=Cause.IN_USE, text=point.in_use)


def _counts(rule: RetentionRule) -> list[tuple[Cause, int]]:
    counts = (
        (Cause.LAST, rule.keep_last),
        (Cause.HOURLY, rule.keep_hourly),
        (Cause.DAILY, rule.keep_daily),
        (Cause.WEEKLY, rule.keep_weekly),
        (Cause.MONTHLY, rule.keep_monthly),
        (Cause.YEARLY, rule.keep_yearly),
    )
    return [(cause, count) for cause, count in counts if count is not None]


def _by_bucket(
    points: Sequence[PointFacts], cause: Cause, count: int, zone: tzinfo, first: str | None
) -> Iterable[tuple[PointFacts, KeepReason]]:
    """Yield the points of one VM that one kind of bucket keeps, with the reason.

    :param points: sorted by time, none in the future.
    """
    if cause is Cause.LAST:
        buckets: dict[str, Bucket] = {point.ref: (number,) for number, point in enumerate(points)}
    else:
        buckets = {point.ref: _BUCKETS[cause](point.taken_at.astimezone(zone)) for point in points}
    ranked = sorted(points, key=lambda point: first is not None and point.policy == first)
    standing = {buckets[point.ref]: point for point in ranked if point.good}
    kept = sorted(standing, reverse=True)[:count]
    for rank, bucket in enumerate(kept, start=1):
        point = standing[bucket]
        yield point, KeepReason(cause=cause, text=_text(cause, point, rank, zone))
    for point in points:
        bucket = buckets[point.ref]
        if bucket not in standing and (len(kept) < count or bucket > kept[-1]):
            what = _text(cause, point, 0, zone)
            yield point, KeepReason(cause=cause, text=f"{what}: damaged, but there is no good one instead")


_BUCKETS: dict[Cause, Callable[[datetime], Bucket]] = {
    # The fold distinguishes the two passes through one hour when a clock is set back.
    Cause.HOURLY: lambda local: (local.year, local.month, local.day, local.hour, local.fold),
    Cause.DAILY: lambda local: (local.year, local.month, local.day),
    Cause.WEEKLY: lambda local: local.isocalendar()[:2],
    Cause.MONTHLY: lambda local: (local.year, local.month),
    Cause.YEARLY: lambda local: (local.year,),
}

_FORMATS = {
    Cause.HOURLY: "%Y-%m-%d %H:00 %z",
    Cause.DAILY: "%Y-%m-%d",
    Cause.WEEKLY: "%G-W%V",
    Cause.MONTHLY: "%Y-%m",
    Cause.YEARLY: "%Y",
}


def _text(cause: Cause, point: PointFacts, rank: int, zone: tzinfo) -> str:
    if cause is Cause.LAST:
        return f"last {rank}" if rank else "last"
    return f"{cause} {point.taken_at.astimezone(zone).strftime(_FORMATS[cause])}"


def _short(value: int | timedelta) -> str:
    if isinstance(value, int):
        return str(value)
    hours = value / timedelta(hours=1)
    return f"{hours / 24:g}d" if hours % 24 == 0 else f"{hours:g}h"
