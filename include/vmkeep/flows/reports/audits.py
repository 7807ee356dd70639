"""An audit: what cannot be deleted until when, and what was proved when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from vmkeep.flows.reports.past import Past, PastPoint, policy_of
from vmkeep.flows.reports.values import BAD, GOOD, OPEN, Kind, Report, Table, Value
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.model.wording import counted

_COLUMNS = (
    ("VM", Kind.TEXT), ("Policy", Kind.TEXT), ("Good points", Kind.NUMBER), ("Oldest", Kind.TIME),
    ("Newest", Kind.TIME), ("Immutable", Kind.STATE), ("Locked points", Kind.NUMBER),
    ("Newest locked until", Kind.TIME),
    *((kind.value, Kind.TIME) for kind in ProofKind),
)  # fmt: skip
_TROUBLE = (("Point", Kind.TEXT), ("VM", Kind.TEXT), ("Trouble", Kind.STATE))


def audit_report(past: Past) -> Report:
    """Return the locks and the proofs of every VM. Pure. ``past`` has to be gathered with its locks."""
    rows, trouble = [], []
    for key, points in past.by_vm():
        rows.append(_row(points, past.proofs.get(key, {}), past))
        trouble += [(point.ref, point.vm_name, why) for point in points if (why := _trouble(point, past))]
    for damaged in past.damaged:
        ref, _, why = damaged.partition(": ")
        trouble.append((ref, "", f"{BAD}: cannot be read: {why}"))
    return Report(
        title="Audit of immutability and proofs",
        at=past.at,
        facts=(
            ("Repository", past.location),
            ("Points", f"{counted(len(past.points), 'point')} of {counted(len(rows), 'VM')}"),
            ("Locks", _rule(past)),
        ),
        notes=(
            "A lock is that of the point's manifest: at least the repository's time from when the store took it.",
            "Maintenance extends locks as long as the point is needed, so a lock may hold longer than is said here.",
            "A proof is the time of the last check of its kind that passed for any point of the VM.",
            "A proof of kind malware is the time of the scan of the VM's last clean point: see 'vmkeep vm clean'.",
        ),
        tables=(
            Table(id="vms", title="VMs", columns=_COLUMNS, rows=tuple(rows)),
            Table(id="trouble", title="Points that somebody has to look at", columns=_TROUBLE, rows=tuple(trouble)),
        ),
    )


def _row(points: Sequence[PastPoint], proofs: Mapping[ProofKind, VmProof], past: Past) -> tuple[Value, ...]:
    good = [point for point in points if point.good]
    locked = [point for point in points if _locked_until(point, past) is not None]
    newest = _locked_until(points[-1], past)
    if past.locked_for is None:
        state = f"{OPEN}: the repository asks for no locks"
    elif past.locks is None:
        state = f"{BAD}: the store keeps no locks"
    elif newest is None:
        state = f"{BAD}: the newest point is not locked"
    else:
        state = f"{GOOD}: the newest point is locked"
    return (
        points[-1].vm_name,
        policy_of(points),
        len(good),
        good[0].taken_at if good else None,
        good[-1].taken_at if good else None,
        state,
        len(locked) if past.locks is not None else None,
        newest,
        *(proofs[kind].at if kind in proofs else None for kind in ProofKind),
    )


def _locked_until(point: PastPoint, past: Past) -> datetime | None:
    lock = (past.locks or {}).get(point.ref)
    return lock.until if lock is not None and lock.until > past.at else None


def _trouble(point: PastPoint, past: Past) -> str:
    lock = (past.locks or {}).get(point.ref)
    if lock is not None and lock.trouble:
        return f"{BAD}: somebody has {lock.trouble} its manifest: run 'vmkeep repo lock --restore'"
    return "" if point.good else f"{BAD}: damaged or suspect, or a check of it failed: see 'vmkeep point show'"


def _rule(past: Past) -> str:
    if past.locked_for is None:
        return "none are asked for"
    asked = f"{counted(past.locked_for.days, 'day')} are asked for"
    return asked if past.locks is not None else f"{asked}, and the store keeps none"
