"""Service levels: how well each policy was kept over some days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime, timedelta
from itertools import pairwise

from vmkeep.flows.reports.past import Past, PastPoint, policy_of
from vmkeep.flows.reports.values import BAD, GOOD, OPEN, Kind, Report, Table, Value
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep.recovery import RecoveryReport

_NO_POLICY = "none"
_COLUMNS = (
    ("Policy", Kind.TEXT), ("Owner", Kind.TEXT), ("VMs", Kind.NUMBER), ("Allowed age", Kind.SECONDS),
    ("RPO now", Kind.STATE), ("Time within RPO", Kind.SHARE), ("Longest gap", Kind.SECONDS), ("Gaps", Kind.NUMBER),
    ("New points", Kind.NUMBER), ("No good", Kind.NUMBER), ("Bytes read", Kind.BYTES), ("Bytes stored", Kind.BYTES),
    ("Proofs", Kind.STATE),
)  # fmt: skip
_RUNS = (
    ("Plan", Kind.TEXT), ("Kind", Kind.TEXT), ("Began", Kind.TIME), ("Result", Kind.STATE), ("VMs", Kind.NUMBER),
    ("RPO reached", Kind.SECONDS), ("RTO reached", Kind.SECONDS),
)  # fmt: skip
_GAPS = (("Policy", Kind.TEXT), ("VM", Kind.TEXT), ("From", Kind.TIME), ("To", Kind.TIME), ("Length", Kind.SECONDS))
_MOST_GAPS = 1000
"""Gaps that the report lists, the longest first."""


@dataclass(slots=True)
class _Level:
    """The sums of one policy."""

    vms: int = 0
    late: int = 0
    within: float = 0.0
    looked: float = 0.0
    gaps: list[tuple[str, datetime, datetime]] = field(default_factory=list)
    longest: float = 0.0
    points: list[PastPoint] = field(default_factory=list)
    unproved: int = 0


def level_report(past: Past, policies: Mapping[str, Policy], *, days: int) -> Report:
    """Return how well each policy was kept over the last days. Pure.

    A VM belongs to the policy that its newest point names. It counts from its first point on, so that a new VM does not
    look as if it had been forgotten before.

    :param policies: by name. A policy that is not among them has no ``max_age``, so that nobody can tell its gaps.
    """
    begin = past.at - timedelta(days=days)
    levels: dict[str, _Level] = {}
    for key, points in past.by_vm():
        name = policy_of(points)
        _add(levels.setdefault(name, _Level()), key, points, policies.get(name), past, begin)
    for name in policies:
        levels.setdefault(name, _Level())
    runs = [run for run in past.recoveries if run.began >= begin]
    gaps = [(name, *gap) for name, level in levels.items() for gap in level.gaps]
    gaps.sort(key=lambda gap: gap[2] - gap[3])
    return Report(
        title=f"Service levels of {counted(days, 'day')}",
        at=past.at,
        facts=(
            ("Repository", past.location),
            ("From", f"{begin:%Y-%m-%d %H:%M} UTC"),
            ("Points", f"{len(past.points):,}"),
        ),
        notes=tuple(_notes(past, len(gaps))),
        tables=(
            Table(
                id="levels",
                title="Policies",
                columns=_COLUMNS,
                rows=tuple(_row(name, levels[name], policies.get(name)) for name in sorted(levels)),
            ),
            Table(
                id="gaps",
                title="VMs that were older than allowed",
                columns=_GAPS,
                rows=tuple(
                    (name, vm, start, end, (end - start).total_seconds()) for name, vm, start, end in gaps[:_MOST_GAPS]
                ),
            ),
            Table(id="recoveries", title="Recoveries and drills", columns=_RUNS, rows=tuple(map(_run, runs))),
        ),
    )


def _add(
    level: _Level, key: str, points: Sequence[PastPoint], policy: Policy | None, past: Past, begin: datetime
) -> None:
    level.vms += 1
    level.points += [point for point in points if point.taken_at >= begin]
    if policy is None:
        return
    good = [point.taken_at for point in points if point.good]
    if (proved_within := policy.verification.proved_within) is not None:
        proofs = past.proofs.get(key, {})
        last = max((proof.at for kind, proof in proofs.items() if kind in policy.verification.counting), default=None)
        level.unproved += last is None or past.at - last > proved_within
    if policy.max_age is None:
        return
    level.late += not good or past.at - good[-1] > policy.max_age
    first = max(begin, points[0].taken_at)
    level.looked += (past.at - first).total_seconds()
    level.within += (past.at - first).total_seconds()
    for moment, following in pairwise(_moments(good, first, past.at)):
        level.longest = max(level.longest, (following - moment).total_seconds())
        start = max(moment + policy.max_age, first)
        if start < following:
            level.gaps.append((points[-1].vm_name, start, following))
            level.within -= (following - start).total_seconds()


def _moments(good: Sequence[datetime], begin: datetime, end: datetime) -> list[datetime]:
    """Return the times of the good points that count from ``begin`` to ``end``, and ``end``.

    The newest one before ``begin`` counts. Without it, it is as if one had been there at ``begin``, when the VM was
    first seen.
    """
    before = max((moment for moment in good if moment <= begin), default=begin)
    return [before, *(moment for moment in good if begin < moment < end), end]


def _row(name: str, level: _Level, policy: Policy | None) -> tuple[Value, ...]:
    max_age = policy.max_age if policy else None
    proved = policy is not None and policy.verification.proved_within is not None
    return (
        name or _NO_POLICY,
        policy.owner if policy else "",
        level.vms,
        max_age.total_seconds() if max_age else None,
        _state(level.late, level.vms, "late") if max_age else f"{OPEN}: no max_age",
        level.within / level.looked if level.looked else None,
        level.longest if max_age and level.vms else None,
        len(level.gaps) if max_age else None,
        len(level.points),
        sum(not point.good for point in level.points),
        sum(point.bytes_read for point in level.points),
        sum(point.bytes_stored for point in level.points),
        _state(level.unproved, level.vms, "not proved in time") if proved else f"{OPEN}: none are asked for",
    )


def _state(bad: int, vms: int, word: str) -> str:
    if not vms:
        return f"{OPEN}: no VM"
    return f"{BAD}: {counted(bad, 'VM')} {word}" if bad else f"{GOOD}: {counted(vms, 'VM')}"


def _run(run: RecoveryReport) -> tuple[Value, ...]:
    word = OPEN if run.ended is None else BAD if run.failed else GOOD
    return (
        run.plan,
        "drill" if run.drill else "recovery",
        run.began,
        f"{word}: {run.result(run.vms)}",
        len(run.vms),
        run.rpo(run.vms),
        run.rto(run.vms),
    )


def _notes(past: Past, gaps: int) -> list[str]:
    notes = [
        "Failed backups leave nothing in the repository: what they cost are the gaps.",
        "Points that retention has removed since are not counted, so ask for no more days than all points are kept.",
        "Restores of single VMs are in Airflow; recoveries and drills are those of recovery plans.",
    ]
    if past.damaged:
        notes.append(f"{counted(len(past.damaged), 'point')} cannot be read and are left out: run 'vmkeep repo check'")
    if gaps > _MOST_GAPS:
        notes.append(f"{gaps:,} gaps were found; the {_MOST_GAPS:,} longest are listed")
    return notes
