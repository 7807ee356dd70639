"""The report on a window: the VMs by how their backups ended, and the reasons why somebody has to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.clock import now
from vmkeep.model.job import from_plain
from vmkeep.model.wording import counted, told_apart
from vmkeep.policy import Due
from vmkeep_airflow.states import require_good, task_results, task_states
from vmkeep_airflow.xcoms import handed

if TYPE_CHECKING:
    from vmkeep.flows.windows import PlannedVm, WindowPlan
    from vmkeep_airflow.windowruns import Outcome

_WORK = ("plan", "start_backups")
"""The tasks that do a window's work."""

COPIES = "copies"
"""The task that copies a policy's points to its second repositories."""

_WITHOUT = ("failed", "stopped", "not started", "running")
"""Endings of backups that have made no new point."""
LIED = "change tracking lied"
"""Backups that found changes that vSphere had denied. The new point is good, and earlier ones are suspect."""
_COUNTED = ("done", *_WITHOUT, LIED, "started again", "overdue", "left out", "not copied", "unprotected")

_SHOWN = 20
"""Names that one line lists."""


def look(context: Context, plan: Any, started: Any, copies: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Return the report on a window, and the reasons why somebody has to look.

    :param plan: the result of ``plan``.
    :param started: the result of ``start_backups``.
    :param copies: the second repositories that get the policy's points.
    :raises AirflowFailException: one of these tasks did not end well, or left no result.
    """
    from vmkeep.flows.windows import WindowPlan
    from vmkeep_airflow.windowruns import Outcome

    states = {task: state for task, state in task_states(context).items() if task in _WORK}
    require_good(states, task_results(context, _WORK))
    found = handed(plan, WindowPlan, by="plan")
    report = report_of(found, [from_plain(Outcome, each) for each in started["outcomes"]], at=now())
    if copies:
        report |= copies_of(copies, task_results(context, [COPIES])[COPIES])
    return report, list(problems_of(found, report))


def report_of(plan: WindowPlan, outcomes: Sequence[Outcome], *, at: datetime) -> dict[str, Any]:
    """Return the names of VMs, by how their backups ended; those that cannot be backed up, and those of no policy.

    :param at: the time of the report, at which VMs may be overdue.
    """
    from vmkeep.flows.windows import named_by_plan, overdue_vms

    names = told_apart(named_by_plan(plan) | {outcome.moref: outcome.name for outcome in outcomes})
    by_ending: dict[str, list[str]] = {"done": [], "failed": [], "stopped": [], "not started": [], "running": []}
    for outcome in outcomes:
        by_ending[outcome.ending].append(names[outcome.moref])
    done = {outcome.moref for outcome in outcomes if outcome.ending == "done"}
    if plan.due is Due.MISSED:
        by_ending["not started"] = [names[vm.moref] for vm in plan.vms]
    return {
        "policy": plan.policy,
        "window": plan.stamp,
        "due": plan.due.value,
        **by_ending,
        LIED: [shown_lies(outcome, names[outcome.moref]) for outcome in outcomes if outcome.lies],
        "started again": [shown_again(outcome, names[outcome.moref]) for outcome in outcomes if outcome.again],
        "overdue": [shown_age(vm, names[vm.moref]) for vm in overdue_vms(plan, done, at)],
        "left out": [f"{names[vm.moref]}: {vm.why}" for vm in plan.left_out],
        "left to other policies": [f"{names[vm.moref]}: {vm.policy}" for vm in plan.elsewhere],
        "newly found": list(plan.newly_found),
        "vanished": list(plan.vanished),
        "unprotected": list(plan.unprotected),
        "conflicts": list(plan.conflicts),
    }


def shown_again(outcome: Outcome, name: str) -> str:
    """Return a VM whose backup was started once more: how often, how it ended, and the last failure."""
    failed = outcome.ending == "failed" and outcome.why
    reason = failed or outcome.last_failure
    return f"{name}: {counted(outcome.again, 'time')}, {outcome.ending}; last failure: {reason}"


def shown_lies(outcome: Outcome, name: str) -> str:
    """Return a VM with the number of blocks about which change tracking has lied."""
    return f"{name}: {counted(outcome.lies, 'block')}, see the note of run {outcome.run_id}"


def shown_age(vm: PlannedVm, name: str) -> str:
    """Return a VM with the time of its newest good point."""
    last = vm.last_point_at
    return f"{name}: {f'last good point {last:%Y-%m-%d %H:%M} UTC' if last else 'no good point'}"


def shown_names(names: Sequence[str], word: str) -> str:
    """Return what is the matter with some VMs, and the first of their names."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{counted(len(names), 'VM')} {word}: {', '.join(names[:_SHOWN])}{more}"


def copies_of(targets: Sequence[str], results: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the copies of the policy's points, by what became of them."""
    found = {result["target"]: result for result in results}
    copied, lost = [], []
    holders: dict[str, str] = {}
    for target in targets:
        if target not in found:
            lost.append(f"{target}: the task {COPIES} did not end well, see its log")
            continue
        result = found[target]
        if (repository := result.get("repository")) and holders.setdefault(repository, target) != target:
            lost.append(f"{target}: it is the same repository as {holders[repository]}, or a clone of it")
        copied.append(f"{target}: {counted(result['copied'], 'point')}")
        lost += [f"{target}: {ref}: {why}" for ref, why in result["failed"].items()]
        if result["left"]:
            lost.append(f"{target}: {counted(len(result['left']), 'point')} left for the next window, which opened")
    return {"copied": copied, "not copied": lost}


def note_of(report: Mapping[str, Any]) -> list[str]:
    """Return the report as lines of a run's note: the numbers, and the first VMs that have no new point."""
    if not report.get("policy"):
        return []
    counts = [f"{len(report[word])} {word}" for word in _COUNTED if word == "done" or report.get(word)]
    due = "" if report["due"] == Due.OPEN else f"{report['due']}: "
    return [f"{due}{'; '.join(counts)}", *(shown_names(report[word], word) for word in _WITHOUT if report.get(word))]


def lines_of(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as lines of a log, every name included."""
    for word, value in report.items():
        if isinstance(value, list):
            yield f"{word}: {len(value)}{': ' if value else ''}{', '.join(value)}"
        else:
            yield f"{word}: {value}"


def problems_of(plan: WindowPlan, report: dict[str, Any]) -> Iterator[str]:
    """Yield the reasons why somebody has to look: VMs of the policy that have no new restore point."""
    if plan.due is Due.MISSED:
        yield "it was missed, and the policy does not catch up"
    if plan.due is not Due.SUPERSEDED and not plan.vms:
        left = f", and leaves {counted(len(plan.elsewhere), 'VM')} to other policies" if plan.elsewhere else ""
        yield f"the policy takes no VM that can be backed up{left}: see 'vmkeep policy explain'"
    for word in ("overdue", *_WITHOUT):
        if names := report[word]:
            yield shown_names(names, word)
    if lied := report[LIED]:
        yield shown_names(lied, f"where {LIED}")
    if lost := report.get("not copied"):
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        yield f"points are missing in a second repository: {', '.join(lost[:_SHOWN])}{more}"
