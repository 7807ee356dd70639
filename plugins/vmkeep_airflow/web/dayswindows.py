"""Reads the windows of one day from Airflow's database and the policy files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from airflow.models import DagRun
from airflow.models.dag import DagTag
from airflow.utils.session import create_session
from sqlalchemy import select
from sqlalchemy.orm import Session

from vmkeep.flows.windows import WindowPlan
from vmkeep.model.job import from_plain
from vmkeep.policy import Opening, Policy
from vmkeep.web import WindowBackup, WindowPlanned, WindowSeen, bounds_of
from vmkeep_airflow.policies import PREFIX, policy_files
from vmkeep_airflow.vmruns import run_id_of
from vmkeep_airflow.web.access import may_with_runs
from vmkeep_airflow.web.atwork import results_of
from vmkeep_airflow.windowruns import Outcome

_EARLIER: Final = timedelta(days=2)
"""A window and the wait for its backups last no longer."""
_TAG: Final = "window"
_ACTIVE: Final = ("running", "queued")
_AGAIN: Final = re.compile(r"__again-\d+$")


def find_windows(user: Any, day: date) -> tuple[list[WindowSeen], list[WindowPlanned], list[str]]:
    """Return the windows that touch a day: those with a run, those without, and a sentence for each missing part."""
    begin, end = bounds_of(day)
    files = policy_files()
    problems = [f"policy file {read.path.name} has faults: see the DAG policy_faults" for read in files
                if read.policy is None]  # fmt: skip
    with create_session() as session:
        tagged = session.scalars(select(DagTag.dag_id).where(DagTag.name == _TAG)).all()
        dag_ids = [each for each in tagged if each.startswith(PREFIX) and may_with_runs(user, "GET", each)]
        query = select(DagRun).where(
            DagRun.dag_id.in_(dag_ids), DagRun.run_after >= begin - _EARLIER, DagRun.run_after < end
        )
        runs = session.scalars(query.order_by(DagRun.run_after)).all()
        seen = _windows(session, runs)
    touching = [each for each in seen if _touches(each, begin, end)]
    stamps = {(each.policy, Opening(opens_at=each.opens_at, closes_at=each.opens_at).stamp) for each in seen}
    planned = [
        WindowPlanned(policy=policy.name, opens_at=opening.opens_at, closes_at=opening.closes_at)
        for policy in (read.policy for read in files if read.policy is not None)
        if f"{PREFIX}{policy.name}" in dag_ids
        for opening in _openings(policy, begin, end)
        if (policy.name, opening.stamp) not in stamps
    ]
    return touching, planned, problems


def _touches(each: WindowSeen, begin: datetime, end: datetime) -> bool:
    times = [each.opens_at, each.closes_at, *(backup.ended_at or backup.begun_at for backup in each.backups)]
    last = max(at for at in times if at is not None)
    return each.opens_at < end and last >= begin


def _openings(policy: Policy, begin: datetime, end: datetime) -> Iterator[Opening]:
    """Yield the windows of a policy that touch a time."""
    if (opening := policy.window.window_at(begin)) is not None:
        yield opening
    at = begin
    while (coming := policy.window.next_opening(at)) is not None and coming.opens_at < end:
        yield coming
        at = coming.opens_at


def _windows(session: Session, runs: Sequence[DagRun]) -> list[WindowSeen]:
    ids = [run.id for run in runs]
    plans = {run: plan for run, value in results_of(session, ids, "plan").items() if (plan := _plan(value))}
    started = results_of(session, ids, "start_backups")
    backups = _backups(session, runs, plans)
    found = []
    for run in runs:
        plan = plans.get(run.id)
        is_over = run.state not in _ACTIVE
        found.append(
            WindowSeen(
                policy=run.dag_id.removeprefix(PREFIX),
                dag_id=run.dag_id,
                run_id=run.run_id,
                opens_at=plan.opens_at if plan else (run.logical_date or run.run_after),
                closes_at=plan.closes_at if plan else None,
                due=plan.due.value if plan else "",
                is_over=is_over,
                backups=tuple(_of_window(plan, backups, started.get(run.id, {}), is_over=is_over)) if plan else (),
                left_out=len(plan.left_out) if plan else 0,
            )
        )
    return found


def _plan(value: Mapping[str, Any]) -> WindowPlan | None:
    """Return a window's plan; ``None``: another version of vmkeep has left it."""
    try:
        return from_plain(WindowPlan, value)
    except ValueError:
        return None


def _backups(
    session: Session, runs: Sequence[DagRun], plans: Mapping[int, WindowPlan]
) -> dict[str, list[tuple[str, str, datetime | None, datetime | None]]]:
    """Return the runs of backups by the id of the first run of their VM in the window: id, state, start and end."""
    found: defaultdict[str, list[tuple[str, str, datetime | None, datetime | None]]] = defaultdict(list)
    if not plans:
        return found
    begin = min(plan.opens_at for plan in plans.values())
    end = max(run.end_date or run.run_after + 2 * _EARLIER for run in runs)
    query = select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date).where(
        DagRun.dag_id == "vm_backup", DagRun.run_after >= begin, DagRun.run_after <= end
    )
    for run_id, state, start, stop in session.execute(query.order_by(DagRun.run_after)):
        found[_AGAIN.sub("", run_id)].append((run_id, str(state), start, stop))
    return found


def _of_window(
    plan: WindowPlan,
    backups: Mapping[str, list[tuple[str, str, datetime | None, datetime | None]]],
    started: Mapping[str, Any],
    *,
    is_over: bool,
) -> Iterator[WindowBackup]:
    """Yield the backup of each VM of a window: its ending as the window tells it, or as its newest run tells now."""
    outcomes = {each.moref: each for each in (from_plain(Outcome, one) for one in started.get("outcomes", ()))}
    for vm in plan.vms:
        first = run_id_of(plan, vm)
        run_id, state, start, stop = (backups.get(first) or [(first, "", None, None)])[-1]
        told = outcomes.get(vm.moref)
        if told is not None and not (told.ending == "running" and state == "success"):
            ending, why = told.ending.value, told.why
        else:
            waiting = "not started" if is_over else "waiting"
            ending, why = {"success": "done", "failed": "failed", "": waiting}.get(state, "running"), ""
        yield WindowBackup(name=vm.name, run_id=run_id, ending=ending, why=why, begun_at=start, ended_at=stop)
