"""Guesses the restore points to come if backups go on as they do now. The guess is only for planning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from vmkeep.model.point import stamp_of
from vmkeep.retention.rule import PointFacts, points_by_vm

_GAPS = 14
"""Number of a VM's last gaps between backups from which its rhythm is calculated."""
_MISSED = 4
"""Number of rhythms without a point after which a VM counts as not backed up any more."""
_DAILY = timedelta(days=1)
_QUICKEST = timedelta(minutes=15)


def expected_points(points: Iterable[PointFacts], *, now: datetime, until: datetime) -> list[PointFacts]:
    """Return the points to expect after ``now`` and up to ``until``, for every VM that is being backed up.

    A VM's rhythm is the median of its last gaps, or one day if it has a single point. The refs of expected points say
    ``expected``.
    """
    now, until = now.astimezone(UTC), until.astimezone(UTC)
    expected: list[PointFacts] = []
    for of_vm in points_by_vm(point for point in points if point.taken_at <= now):
        times = [point.taken_at.astimezone(UTC) for point in of_vm[-_GAPS - 1 :]]
        rhythm = max(_rhythm(times), _QUICKEST)
        if now - times[-1] > _MISSED * rhythm:
            continue
        at = times[-1] + rhythm
        while at <= until:
            if at > now:
                expected.append(_next(of_vm[-1], at))
            at += rhythm
    return expected


def _next(last: PointFacts, at: datetime) -> PointFacts:
    """Return a point to come of the VM, vCenter and policy of the last one."""
    ref = f"{last.vm_key}/{stamp_of(at)}-expected"
    return replace(last, ref=ref, taken_at=at, good=True, readable=True, pinned=False)


def _rhythm(times: list[datetime]) -> timedelta:
    if len(times) == 1:
        return _DAILY
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    return gaps[len(gaps) // 2]
