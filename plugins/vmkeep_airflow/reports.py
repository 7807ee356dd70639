"""Words the results of maintenance and checks as lines of a task's log, the most important first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vmkeep.model.wording import agreeing, counted, counted_of, size
from vmkeep.retention import Cause, RetentionDecision

if TYPE_CHECKING:
    from vmkeep.flows.pruning import PrunePlan, PruneReport
    from vmkeep.flows.upkeep import PointDamage

_WORTH_A_LINE = frozenset({Cause.PINNED, Cause.NEWEST, Cause.NO_GOOD, Cause.FUTURE})
"""Reasons that keep a point even though no number of the rule does."""

_NAMED = 10
"""VMs that one line names."""


def plan_lines(plan: PrunePlan, zone: tzinfo) -> Iterator[str]:
    """Yield a prune's plan in lines: each point that goes, and each point that stays for a special reason."""
    for _, group in groupby(plan.verdicts, key=lambda verdict: verdict.point.vm_key):
        of_vm = list(group)
        stay = sum(verdict.keep for verdict in of_vm)
        by = f", by the rule of {of_vm[0].rule}" if of_vm[0].rule else ""
        yield f"{_vm(of_vm[0])}: {counted_of(stay, len(of_vm), 'point')} {agreeing(stay, 'stays', 'stay')}{by}"
        for verdict in of_vm:
            taken_at = f"{verdict.point.taken_at.astimezone(zone):%Y-%m-%d %H:%M %Z}"
            if not verdict.keep:
                yield f"  {taken_at} goes: nothing keeps it ({verdict.point.ref})"
            elif {reason.cause for reason in verdict.reasons} <= _WORTH_A_LINE:
                yield f"  {taken_at} stays: {', '.join(map(str, verdict.reasons))} ({verdict.point.ref})"
    packs = counted(plan.packs, "pack")
    yield f"{packs}, {size(plan.pack_bytes)}, of which points need {size(plan.live_bytes)}"
    for moved, what in (
        (plan.condemned, "that nothing needs are condemned now, and deleted by a later run"),
        (plan.rewritten, "of packs with much waste, or of many small ones, are moved"),
        (plan.swept, "that were condemned long enough ago are deleted"),
    ):
        if moved:
            yield f"{counted(len(moved), 'pack')}: {size(sum(moved.values()))} {what}"
    if plan.waiting:
        yield f"{counted(plan.waiting, 'condemned pack')} still {agreeing(plan.waiting, 'waits', 'wait')}"


def held_lines(plan: PrunePlan) -> list[str]:
    """Return one line for each reason why nobody can tell the rule of some VMs, so that no point of them goes."""
    held: dict[str, set[str]] = {}
    for verdict in plan.verdicts:
        for reason in verdict.reasons:
            if reason.cause is Cause.UNKNOWN_RULE:
                held.setdefault(reason.text, set()).add(_vm(verdict))
    return [
        f"no point of {counted(len(vms), 'VM')} goes, because of {why}: {', '.join(sorted(vms)[:_NAMED])}"
        + (" …" if len(vms) > _NAMED else "")
        for why, vms in held.items()
    ]


def prune_warnings(plan: PrunePlan, report: PruneReport) -> list[str]:
    """Return one line for each part that did not go as planned, with the reason."""
    warnings = [
        f"{name} stays: {why}"
        for found in (report.points_kept, report.locked, report.packs_damaged)
        for name, why in found.items()
    ]
    if report.packs_pardoned:
        warnings.append(f"{counted(report.packs_pardoned, 'condemned pack')} needed again: not deleted")
    if report.given_way:
        warnings.append("a backup or another prune could not wait: not all was deleted, the next run will")
    if plan.lost_blocks:
        warnings.append(
            f"points need {counted(plan.lost_blocks, 'block')} that cannot be found: run the DAG repository_check"
        )
    return warnings


def damage_lines(damage: PointDamage) -> Iterator[str]:
    """Yield one line for each part of a point that cannot be restored."""
    for part in damage.parts:
        lost = sum(extent.stop - extent.start for extent in part.extents)
        what = f"{size(lost)} from byte {part.extents[0].start} on" if part.extents else "all of it"
        yield f"{damage.ref}: {part.name}: lost: {what}"


def table(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the counters of tasks, one in each line, without counters that are zero or empty."""
    for task, result in results.items():
        rows = [(name, value) for name, value in _flat(result or {}) if value]
        yield f"{task}: {'nothing to report' if result and not rows else '' if result else 'no result'}".rstrip()
        for name, value in rows:
            yield f"  {name.replace('_', ' '):<36} {_shown(name, value)}"


def _flat(result: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in result.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}: {inner}", number) for inner, number in _flat(value))
        else:
            yield name, value


def _shown(name: str, value: Any) -> str:
    last = name.rpartition(": ")[2]
    if isinstance(value, bool):
        return "yes"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return size(value) if "bytes" in last.split("_") else str(value)


def _vm(verdict: RetentionDecision) -> str:
    return verdict.point.vm_name or verdict.point.vm_key
