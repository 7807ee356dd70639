"""Starts runs for the restore wizard and reads those that only plan, by Airflow's own API as the user who calls."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

from fastapi import HTTPException, status

from vmkeep.clock import now
from vmkeep.errors import NotFoundError
from vmkeep.flows.attach_values import Attached, AttachPreview
from vmkeep.flows.restore_values import Restored, RestorePlan
from vmkeep.model.job import from_plain
from vmkeep.web import PLANNED_BY, PlanRun, RestoreRun
from vmkeep_airflow.causes import KEY as FAILURE
from vmkeep_airflow.web.atwork import find_tasks
from vmkeep_airflow.web.ownapi import Answer, OwnApi
from vmkeep_airflow.wizardplans import PLAN

log = logging.getLogger(__name__)
T = TypeVar("T")

_RESTORE: Final = "restore__"
"""Beginning of the id of each run that carries out a plan of the wizard."""
_FINISHED_BY: Final = {"vm_restore": "finish", "disk_attach": "attach"}
"""The task whose result says that something was restored, by DAG."""


def start_plan(api: OwnApi, dag_id: str, conf: Mapping[str, Any], *, note: str) -> Answer:
    """Trigger a run that only plans. The answer's data is the run, or Airflow's reason why there is none.

    :param note: the names of its VMs, because a run that begins knows only ids.
    """
    run_id = f"{PLAN}{now():%Y-%m-%dT%H:%M:%S}_{secrets.token_hex(4)}"
    return _trigger(api, dag_id, run_id, conf, note)


def run_of_plan(run_id: str) -> str:
    """Return the id of the one run that carries out what a run has planned."""
    return f"{_RESTORE}{run_id.removeprefix(PLAN)}"


def plan_of_run(run_id: str) -> str:
    """Return the id of the run that has planned what a run of the wizard does; empty: it is none of the wizard."""
    return f"{PLAN}{run_id.removeprefix(_RESTORE)}" if run_id.startswith(_RESTORE) else ""


def start_restore(api: OwnApi, planned: PlanRun, conf: Mapping[str, Any], *, note: str) -> str:
    """Trigger the run that does what a run has planned; return its id. A second call triggers no second run.

    :raises HTTPException: Airflow refuses it, with Airflow's reason; or a run that does something else has the id.
    """
    run_id = run_of_plan(planned.run_id)
    answer = _trigger(api, planned.dag_id, run_id, conf, note)
    if answer.is_good:
        return run_id
    if answer.code == status.HTTP_409_CONFLICT:
        found = _run_of_that_name(api, planned.dag_id, planned.run_id)
        if found is not None and _does_what_was_planned(found, planned.conf):
            return run_id
    raise HTTPException(answer.code, f"Airflow did not start the restore: {answer.why}")


def load_plan_run(api: OwnApi, dag_id: str, run_id: str) -> PlanRun:
    """Return a run that only plans, with the plan if it is there.

    :raises NotFoundError: Airflow has no such run, or it does more than to plan.
    :raises HTTPException: Airflow refuses to tell of it, with Airflow's reason.
    """
    if dag_id not in PLANNED_BY:
        raise NotFoundError(f"'{dag_id}' is no DAG that restores")
    task = PLANNED_BY[dag_id]
    run = _asked(api, "dags", dag_id, "dagRuns", run_id)
    conf = run.get("conf") or {}
    if not conf.get("dry_run"):
        raise NotFoundError(f"{run_id} is no run that only plans")
    told = _asked(api, "dags", dag_id, "dagRuns", run_id, "taskInstances", task)
    result = _left(api, dag_id, run_id, task, "return_value") if told.get("state") == "success" else None
    failure = _left(api, dag_id, run_id, task, FAILURE) if told.get("state") in ("failed", "skipped") else None
    found = _run_of_that_name(api, dag_id, run_id) if told.get("state") == "success" else None
    is_own = found is not None and _does_what_was_planned(found, conf)
    return PlanRun(
        dag_id=dag_id,
        run_id=run_id,
        conf=conf,
        task_state=told.get("state"),
        run_state=str(run.get("state")),
        by=str(run.get("triggering_user_name") or ""),
        result=_read(dag_id, result) if isinstance(result, Mapping) and result else None,
        failure=str(failure.get("why", "")) if isinstance(failure, Mapping) else "",
        started=run_of_plan(run_id) if is_own else "",
        taken=run_of_plan(run_id) if found is not None and not is_own else "",
    )


def load_restore_run(api: OwnApi, dag_id: str, run_id: str) -> RestoreRun:
    """Return a run that restores, with the tasks that have not ended.

    :raises NotFoundError: Airflow has no such run, or it only plans.
    :raises HTTPException: Airflow refuses to tell of it, with Airflow's reason.
    """
    if dag_id not in _FINISHED_BY:
        raise NotFoundError(f"'{dag_id}' is no DAG that restores")
    run = _asked(api, "dags", dag_id, "dagRuns", run_id)
    conf = run.get("conf") or {}
    if conf.get("dry_run"):
        raise NotFoundError(f"{run_id} only plans, and restores nothing")
    state = str(run.get("state"))
    result = _left(api, dag_id, run_id, _FINISHED_BY[dag_id], "return_value") if state == "success" else None
    work = find_tasks(dag_id, run_id)
    return RestoreRun(
        dag_id=dag_id,
        run_id=run_id,
        conf=conf,
        state=state,
        by=str(run.get("triggering_user_name") or ""),
        note=str(run.get("note") or ""),
        since=_time(run.get("start_date")),
        ended=_time(run.get("end_date")),
        has_restored=bool(result),
        result=_understood(Restored, result) if dag_id == "vm_restore" else _understood(Attached, result),
        plan=_understood(RestorePlan, _left(api, dag_id, run_id, "plan", "return_value")) if result else None,
        tasks=tuple(work.tasks),
        more_tasks=work.number - len(work.tasks),
        disks_done=work.disks_done,
    )


def _understood(kind: type[T], plain: Any) -> T | None:
    """Return a value that a task has left; ``None``: it left none, or one of another version of vmkeep."""
    try:
        return from_plain(kind, plain) if plain else None
    except ValueError as error:
        log.info("the end of a restore is shown without its %s: %s", kind.__name__, error)
        return None


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(str(text)) if text else None


def _run_of_that_name(api: OwnApi, dag_id: str, run_id: str) -> Mapping[str, Any] | None:
    """Return the run whose id is that of the run which carries a plan out; ``None``: there is none."""
    answer = api.get("dags", dag_id, "dagRuns", run_of_plan(run_id))
    return answer.data if answer.is_good else None


def _does_what_was_planned(run: Mapping[str, Any], planned: Mapping[str, Any]) -> bool:
    """Return whether a run has the params of a plan, because anybody who may trigger the DAG may choose its id."""
    conf = run.get("conf") or {}
    return not conf.get("dry_run") and _without(conf) == _without(planned)


def _without(conf: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that say what is restored: without those in which a restore differs from its plan."""
    return {name: value for name, value in conf.items() if name not in ("dry_run", "as_shown")}


def _read(dag_id: str, result: Mapping[str, Any]) -> RestorePlan | AttachPreview:
    if dag_id == "vm_restore":
        return from_plain(RestorePlan, dict(result))
    return from_plain(AttachPreview, dict(result))


def _trigger(api: OwnApi, dag_id: str, run_id: str, conf: Mapping[str, Any], note: str) -> Answer:
    body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf), "note": note or None}
    return api.post("dags", dag_id, "dagRuns", body=body)


def _asked(api: OwnApi, *segments: str) -> dict[str, Any]:
    answer = api.get(*segments)
    if answer.code == status.HTTP_404_NOT_FOUND:
        raise NotFoundError(answer.why)
    if not answer.is_good:
        raise HTTPException(answer.code, f"Airflow does not tell of this run: {answer.why}")
    return dict(answer.data)


def _left(api: OwnApi, dag_id: str, run_id: str, task: str, key: str) -> Any:
    """Return what a task has left behind; ``None``: nothing."""
    segments = ("dags", dag_id, "dagRuns", run_id, "taskInstances", task, "xcomEntries", key)
    answer = api.get(*segments, stringify="false")
    return answer.data.get("value") if answer.is_good else None
