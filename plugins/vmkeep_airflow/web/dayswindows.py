"""Reads the windows of one day from Airflow's database and the policy files."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

from airflow.models import DagRun
from airflow.models.asset import AssetModel
from airflow.models.asset_state_store import AssetStateStoreModel
from airflow.models.dag import DagModel, DagTag
from airflow.models.dag_version import DagVersion
from airflow.utils.session import create_session
from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from vmkeep.clock import now
from vmkeep.flows.windows import LeftOutVm, PlannedVm, WindowPlan
from vmkeep.model.job import from_plain
from vmkeep.model.wording import counted, told_apart
from vmkeep.policy import Opening, Policy, PolicyFile
from vmkeep.web import WindowBackup, WindowPlanned, WindowSeen, bounds_of
from vmkeep_airflow.assets import WINDOWS
from vmkeep_airflow.missedwindows import KEY, Memory, times_since
from vmkeep_airflow.policies import PREFIX, policy_files
from vmkeep_airflow.vmruns import run_id_of
from vmkeep_airflow.web.access import may_with_runs
from vmkeep_airflow.web.runnames import results_of
from vmkeep_airflow.windowruns import Ending, Outcome

_EARLIER: Final = timedelta(days=2)
"""A window and the wait for its backups last no longer."""
_TAG: Final = "window"
_ACTIVE: Final = ("running", "queued")
_Held = tuple[DagRun, WindowPlan | None]
"""The run of a window, and its plan."""
_AGAIN: Final = re.compile(r"__again-\d+$")


def find_windows(user: Any, day: date) -> tuple[list[WindowSeen], list[WindowPlanned], list[str]]:
    """Return the windows that touch a day: those with a run, those without, and a sentence for each missing part."""
    begin, end = bounds_of(day)
    files = policy_files()
    problems = [f"policy file {read.path.name} has faults: see the page of policies" for read in files
                if read.policy is None]  # fmt: skip
    with create_session() as session:
        tagged = session.scalars(select(DagTag.dag_id).where(DagTag.name == _TAG)).all()
        sound = [read.policy for read in files if read.policy is not None]
        dag_ids = [each for each in tagged if each.startswith(PREFIX) and may_with_runs(user, "GET", each)]
        query = select(DagRun).where(
            DagRun.dag_id.in_(dag_ids), DagRun.run_after >= begin - _EARLIER, DagRun.run_after < end
        )
        runs = session.scalars(query.order_by(DagRun.run_after)).all()
        held = _held(session, runs)
        seen = _windows(session, _touching(session, held, begin))
        known_since = _known_since(session, dag_ids)
        off = set(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(dag_ids), DagModel.is_paused)))
        idle = _idle_examples(session, files, off)
        memory = _memory(session)
    problems += _unknown([policy.name for policy in sound], tagged, dag_ids)
    stamps = {(policy, Opening(opens_at=at, closes_at=at).stamp) for policy, at in map(_opened, held)}
    planned = [
        WindowPlanned(
            policy=policy.name,
            opens_at=opening.opens_at,
            closes_at=opening.closes_at,
            known_since=_latest(known_since.get(f"{PREFIX}{policy.name}"), times_since(memory, policy, now())),
            is_idle_example=policy.name in idle,
            is_off=f"{PREFIX}{policy.name}" in off,
        )
        for policy in sound
        if f"{PREFIX}{policy.name}" in dag_ids
        for opening in _openings(policy, begin, end)
        if (policy.name, opening.stamp) not in stamps
    ]
    return [each for each in seen if _touches(each, begin, end)], planned, problems


def _unknown(policies: Sequence[str], tagged: Collection[str], readable: Collection[str]) -> Iterator[str]:
    """Yield a sentence for the policies of whose windows nobody here can tell anything.

    Those that a user may not see are counted only, because their names are not for this user.
    """
    hidden = 0
    for policy in policies:
        dag_id = f"{PREFIX}{policy}"
        if dag_id not in tagged:
            yield f"policy {policy}: Airflow does not have its DAG {dag_id}: look for import errors"
        elif dag_id not in readable:
            hidden += 1
    if hidden:
        yield f"{counted(hidden, 'policy', 'policies')} with windows that this user may not see"


def _idle_examples(session: Session, files: Sequence[PolicyFile], off: Collection[str]) -> set[str]:
    """Return the names of example policies whose DAGs are switched off, and have no run."""
    found = set()
    for policy in (read.policy for read in files if read.is_example and read.policy):
        dag_id = f"{PREFIX}{policy.name}"
        if dag_id in off and session.scalar(select(DagRun.id).where(DagRun.dag_id == dag_id).limit(1)) is None:
            found.add(policy.name)
    return found


def _memory(session: Session) -> Memory:
    """Return what the last look for missed windows has left: since when each policy has its times."""
    query = select(AssetStateStoreModel.value).join(AssetModel, AssetModel.id == AssetStateStoreModel.asset_id)
    text = session.scalar(query.where(AssetModel.name == WINDOWS.name, AssetStateStoreModel.key == KEY))
    try:
        return Memory.from_plain(json.loads(text or "{}"))
    except ValueError:
        return Memory.from_plain(None)


def _latest(*moments: datetime | None) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _known_since(session: Session, dag_ids: Sequence[str]) -> dict[str, datetime]:
    """Return when Airflow knew each DAG for the first time: its first version, or a run that is older than it.

    Old versions may be removed, and so may old runs.
    """
    found: dict[str, datetime] = {}
    for dag, at in ((DagVersion.dag_id, DagVersion.created_at), (DagRun.dag_id, DagRun.run_after)):
        for dag_id, first in session.execute(select(dag, func.min(at)).where(dag.in_(dag_ids)).group_by(dag)):
            found[dag_id] = min(first, found.get(dag_id, first))
    return found


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


def _held(session: Session, runs: Sequence[DagRun]) -> list[_Held]:
    """Return the runs with their plans; ``None``: the run has made none."""
    results = results_of(session, [run.id for run in runs], "plan")
    return [(run, _plan(results[run.id]) if results.get(run.id) else None) for run in runs]


def _opened(held: _Held) -> tuple[str, datetime]:
    """Return the policy of a window, and the time at which it opened."""
    run, plan = held
    return run.dag_id.removeprefix(PREFIX), plan.opens_at if plan else (run.logical_date or run.run_after)


def _touching(session: Session, held: Sequence[_Held], begin: datetime) -> list[_Held]:
    """Return the windows that may touch a day: those that had not closed before it, and those with a later backup.

    A window of a large site has thousands of backups, so those of an earlier window are not read without need.
    """
    earlier = [(run, plan) for run, plan in held if plan is not None and plan.closes_at < begin]
    late: set[str] = set()
    if earlier:
        plans = [plan for _, plan in earlier]
        ended_late = or_(DagRun.end_date.is_(None), DagRun.end_date >= begin)
        query = select(DagRun.run_id).where(*_started_by(earlier), ended_late)
        ids = session.scalars(query).all()
        late = {stem for stem in map(_stem, plans) if any(run_id.startswith(stem) for run_id in ids)}
    return [(run, plan) for run, plan in held if plan is None or plan.closes_at >= begin or _stem(plan) in late]


def _windows(session: Session, held: Sequence[_Held]) -> list[WindowSeen]:
    started = results_of(session, [run.id for run, _ in held], "start_backups")
    backups = _backups(session, held)
    found = []
    for run, plan in held:
        is_over = run.state not in _ACTIVE
        policy, opens_at = _opened((run, plan))
        found.append(
            WindowSeen(
                policy=policy,
                dag_id=run.dag_id,
                run_id=run.run_id,
                opens_at=opens_at,
                closes_at=plan.closes_at if plan else None,
                due=plan.due.value if plan else "",
                is_over=is_over,
                backups=tuple(_of_window(plan, backups, started.get(run.id, {}), is_over=is_over)) if plan else (),
                left_out=tuple(map(_left_out, plan.left_out)) if plan else (),
                is_queued=run.state == "queued",
                begun_at=run.queued_at,
            )
        )
    return found


def _left_out(vm: LeftOutVm) -> WindowBackup:
    return WindowBackup(name=vm.name, run_id="", ending="left out", why=vm.why, begun_at=None, ended_at=None)


def _plan(value: Mapping[str, Any]) -> WindowPlan | None:
    """Return a window's plan; ``None``: another version of vmkeep has left it."""
    try:
        return from_plain(WindowPlan, value)
    except ValueError:
        return None


def _backups(
    session: Session, held: Sequence[_Held]
) -> dict[str, list[tuple[str, str, datetime | None, datetime | None]]]:
    """Return the runs of backups by the id of the first run of their VM in the window: id, state, start and end."""
    found: defaultdict[str, list[tuple[str, str, datetime | None, datetime | None]]] = defaultdict(list)
    planned = [(run, plan) for run, plan in held if plan is not None]
    if not planned:
        return found
    query = select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date).where(*_started_by(planned))
    for run_id, state, start, stop in session.execute(query.order_by(DagRun.run_after)):
        found[_AGAIN.sub("", run_id)].append((run_id, str(state), start, stop))
    return found


def _started_by(planned: Sequence[tuple[DagRun, WindowPlan]]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on the backups that windows have started, of which an index serves that on the time.

    Somebody may let a window start backups once more, long after it. So the time is that of each of its two passes, and
    not all that lies between.
    """
    opens = [plan.opens_at for _, plan in planned]
    first = DagRun.run_after.between(min(opens), max(opens) + 2 * _EARLIER)
    again = [
        at for at, plan in ((run.start_date, plan) for run, plan in planned) if at and at > plan.opens_at + _EARLIER
    ]
    times = [first, *(DagRun.run_after.between(at, at + 2 * _EARLIER) for at in again)]
    stems = [DagRun.run_id.startswith(_stem(plan), autoescape=True) for _, plan in planned]
    return DagRun.dag_id == "vm_backup", or_(*times), or_(*stems)


def _stem(plan: WindowPlan) -> str:
    """Return the beginning of the ids of all runs that a window starts."""
    return run_id_of(plan, PlannedVm(moref="", name="", last_point_at=None)).removesuffix("__")


def _of_window(
    plan: WindowPlan,
    backups: Mapping[str, list[tuple[str, str, datetime | None, datetime | None]]],
    started: Mapping[str, Any],
    *,
    is_over: bool,
) -> Iterator[WindowBackup]:
    """Yield the backup of each VM of a window: its ending as the window tells it, or as its newest run tells now."""
    outcomes = {each.moref: each for each in (from_plain(Outcome, one) for one in started.get("outcomes", ()))}
    names = told_apart({vm.moref: vm.name for vm in plan.vms})
    for vm in plan.vms:
        first = run_id_of(plan, vm)
        run_id, state, start, stop = (backups.get(first) or [(first, "", None, None)])[-1]
        told = outcomes.get(vm.moref)
        ending, why = _ending_of(told, state, is_over=is_over)
        yield WindowBackup(name=names[vm.moref], run_id=run_id, ending=ending, why=why, begun_at=start, ended_at=stop)


def _ending_of(told: Outcome | None, state: str, *, is_over: bool) -> tuple[str, str]:
    """Return how the backup of a VM ended, and why.

    :param told: the word of the window. It counts, unless the window stopped waiting for a backup that still ran.
    :param state: that of the newest run now; empty: Airflow has none.
    """
    if told is not None and told.ending is not Ending.RUNNING:
        return told.ending.value, told.why
    if told is not None and not state:
        return "failed", "its run was deleted from Airflow, so that nobody knows how it ended"
    waiting = "not started" if is_over else "waiting"
    ending = {"success": "done", "failed": "failed", "": waiting}.get(state, "running")
    return ending, told.why if told is not None and ending == "running" else ""
