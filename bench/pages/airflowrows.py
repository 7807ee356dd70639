"""Fills Airflow's own tables as many nights of one policy leave them: windows, backups, their tasks and results.

The rows are made within the database, because a client would send gigabytes. Nothing reads them but the pages, so they
hold no more than the pages need.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, text

from bench.quality import name_of
from vmkeep.flows.windows import PlannedVm, WindowPlan
from vmkeep.model.job import TaskProgress, to_json
from vmkeep.policy import Due, Opening
from vmkeep_airflow.dagruns import DagRunId
from vmkeep_airflow.liveprogress import KEY
from vmkeep_airflow.policies import PREFIX
from vmkeep_airflow.vmruns import run_id_of
from vmkeep_airflow.windowruns import Ending, Outcome

POLICY: Final = "nightly"
BACKUP: Final = "vm_backup"
PLANNING: Final = "plan__bench"
"""The run of a restore whose plan is being made."""
_TASKS: Final = (
    "preflight",
    "snapshot",
    "plan_disks",
    "copy_disk",
    "catalog",
    "remove_snapshot",
    "verify",
    "close_run",
)
_OPEN_FOR: Final = timedelta(hours=9)
_RUNNING, _QUEUED, _LEFT = 200, 300, 50
"""Backups of the window that is open: those that run, those that wait, and those that left a snapshot."""

_RUNS: Final = """
INSERT INTO dag_run (dag_id, run_id, run_type, state, queued_at, run_after, start_date, end_date, conf, created_at,
                     updated_at, clear_number, span_status, triggered_by)
SELECT 'vm_backup', concat_ws('__', :policy, :stamp, name, name), 'manual', 'success', began, began, began,
       began + interval '4 minutes', json_build_object('vm', 'moref:' || name, 'policy', :policy), began, began, 0,
       'ended', 'REST_API'
FROM (SELECT '5029ab12-0000-4000-8000-' || lpad(vm::text, 12, '0') AS name,
             CAST(:opens AS timestamptz) + vm * interval '500 milliseconds' AS began
      FROM generate_series(0, :vms - 1) AS vm) AS each
"""
_INSTANCES: Final = """
INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date, duration, state, try_number,
                           max_tries, hostname, unixname, pool, pool_slots, queue, priority_weight, operator,
                           last_heartbeat_at, updated_at, span_status, rendered_map_index)
SELECT gen_random_uuid(), task, dag_id, run_id, CASE task WHEN 'copy_disk' THEN 0 ELSE -1 END, start_date, end_date,
       30, 'success', 1, 3, 'proxy1', 'airflow', CASE task WHEN 'copy_disk' THEN 'backup_proxy' ELSE 'default_pool' END,
       1, 'default', 1, 'Bench', end_date, end_date, 'ended',
       CASE task WHEN 'copy_disk' THEN 'Hard disk 1' END
FROM dag_run, unnest(CAST(:tasks AS text[])) AS task WHERE dag_id = 'vm_backup'
"""
_RESULTS: Final = """
INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp)
SELECT run.id, task, CASE task WHEN 'copy_disk' THEN 0 ELSE -1 END, 'return_value', run.dag_id, run.run_id,
       jsonb_build_object('vm', jsonb_build_object('name', split_part(run.run_id, '__', 3)),
                          'taken', jsonb_build_object('snapshot', 'snapshot-1', 'taken_at', run.start_date),
                          'filling', repeat('x', 600)), run.end_date
FROM dag_run AS run, unnest(CAST(:tasks AS text[])) AS task WHERE dag_id = 'vm_backup'
"""
_OPEN: Final = """
UPDATE dag_run SET state = :state, end_date = NULL, start_date = CASE :state WHEN 'queued' THEN NULL ELSE run_after END
WHERE id IN (SELECT id FROM dag_run WHERE dag_id = 'vm_backup' ORDER BY id DESC OFFSET :skip LIMIT :most)
"""
_UNDO: Final = """
DELETE FROM task_instance USING dag_run AS run
WHERE task_instance.dag_id = run.dag_id AND task_instance.run_id = run.run_id AND run.end_date IS NULL
AND (run.state = 'queued' OR task_id IN ('catalog', 'verify', 'close_run', 'remove_snapshot'))
"""
_COPYING: Final = """
UPDATE task_instance SET state = 'running', end_date = NULL, last_heartbeat_at = now() FROM dag_run AS run
WHERE task_instance.dag_id = run.dag_id AND task_instance.run_id = run.run_id AND run.state = 'running'
AND task_id = 'copy_disk'
"""
_PROGRESS: Final = """
INSERT INTO task_state_store (dag_run_id, task_id, map_index, key, dag_id, run_id, value, updated_at)
SELECT id, 'copy_disk', 0, :key, dag_id, run_id, :value, now() FROM dag_run WHERE state = 'running'
"""
_LEFT_BEHIND: Final = """
WITH failed AS (
  UPDATE dag_run SET state = 'failed'
  WHERE id IN (SELECT id FROM dag_run WHERE dag_id = 'vm_backup' ORDER BY id DESC OFFSET :skip LIMIT :most)
  RETURNING dag_id, run_id)
UPDATE task_instance SET state = 'failed' FROM failed
WHERE task_instance.dag_id = failed.dag_id AND task_instance.run_id = failed.run_id AND task_id = 'remove_snapshot'
"""
_NOTES: Final = """
INSERT INTO dag_run_note (dag_run_id, content, created_at, updated_at)
SELECT id, split_part(run_id, '__', 3) || E'\\n1 disk, 1 GiB', now(), now() FROM dag_run WHERE dag_id = 'vm_backup'
"""
_LOGGED: Final = """
INSERT INTO log (dttm, dag_id, task_id, map_index, event, run_id, owner)
SELECT start_date, dag_id, task_id, map_index, unnest(ARRAY['running', 'success']), run_id, 'vmkeep' FROM task_instance
"""
_PEOPLE: Final = """
INSERT INTO log (dttm, dag_id, event, run_id, owner, owner_display_name, extra)
SELECT run_after + interval '1 minute', dag_id, 'patch_dag_run', run_id, 'anna', 'Anna', '{"state": "failed"}'
FROM dag_run WHERE id % 97 = 0
"""
_BY_HAND: Final = "UPDATE dag_run SET triggering_user_name = 'anna' WHERE id % 101 = 0"


def fill_airflow(connection: Connection, *, vms: int, nights: int, now: datetime) -> None:
    """Enter the windows of many nights, with a backup of each VM in each; the newest window is open now."""
    connection.execute(text("SET session_replication_role = replica"))  # the order of rows is ours, not the keys'
    plans = [_plan(now, night, vms) for night in reversed(range(nights))]
    for plan in plans:
        values = {"policy": POLICY, "stamp": plan.stamp, "opens": plan.opens_at, "vms": vms}
        connection.execute(text(_RUNS), values)
    connection.execute(text(_INSTANCES), {"tasks": list(_TASKS)})
    connection.execute(text(_RESULTS), {"tasks": list(_TASKS[:5])})
    connection.execute(text(_NOTES))
    connection.execute(text(_LEFT_BEHIND), {"skip": _RUNNING + _QUEUED, "most": _LEFT})
    connection.execute(text(_OPEN), {"state": "queued", "skip": 0, "most": _QUEUED})
    connection.execute(text(_OPEN), {"state": "running", "skip": _QUEUED, "most": _RUNNING})
    connection.execute(text(_UNDO))
    connection.execute(text(_COPYING))
    progress = TaskProgress(
        label="Hard disk 1", phase="copy", done=25 << 30, total=100 << 30, in_bytes=True, rate=1e8, idle_seconds=1.0
    )
    connection.execute(text(_PROGRESS), {"key": KEY, "value": to_json(progress).decode()})
    for plan in plans:
        _enter_window(connection, plan, is_open=plan is plans[-1])
    _enter_planning(connection, now)
    for statement in (_LOGGED, _PEOPLE, _BY_HAND):
        connection.execute(text(statement))


def run_keys(vm: int, nights: int, now: datetime) -> Iterator[tuple[int, str]]:
    """Yield for each night, 0 the newest, the run key by which a point of a VM names its backup."""
    for night in range(nights):
        plan = _plan(now, night, 0)
        run_id = run_id_of(plan, _planned(vm))
        yield night, DagRunId(dag_id=BACKUP, run_id=run_id).run_key(1)


def _plan(now: datetime, night: int, vms: int) -> WindowPlan:
    opens = (now - timedelta(days=night, hours=8)).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    return WindowPlan(
        policy=POLICY, stamp=Opening(opens_at=opens, closes_at=opens).stamp, due=Due.OPEN, opens_at=opens,
        closes_at=opens + _OPEN_FOR, next_opens_at=opens + timedelta(days=1), vms=tuple(map(_planned, range(vms))),
    )  # fmt: skip


def _planned(vm: int) -> PlannedVm:
    return PlannedVm(moref=name_of(vm), name=name_of(vm), last_point_at=None)


def _enter_window(connection: Connection, plan: WindowPlan, *, is_open: bool) -> None:
    run_id = f"scheduled__{plan.opens_at.isoformat()}"
    run = _enter_run(
        connection, PREFIX + POLICY, run_id, state="running" if is_open else "success", began=plan.opens_at,
        ended=None if is_open else plan.closes_at, conf="{}",
    )  # fmt: skip
    outcomes = [] if is_open else [
        Outcome(moref=vm.moref, name=vm.name, run_id=run_id_of(plan, vm), ending=Ending.DONE) for vm in plan.vms
    ]  # fmt: skip
    results: dict[str, Any] = {"plan": to_json(plan), "start_backups": to_json({"outcomes": outcomes})}
    for task, value in results.items():
        done = "running" if is_open and task == "start_backups" else "success"
        _enter_task(connection, PREFIX + POLICY, run_id, task, state=done, began=plan.opens_at)
        if done == "success":
            connection.execute(
                text(
                    "INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp) VALUES"
                    " (:run, :task, -1, 'return_value', :dag, :run_id, CAST(:value AS jsonb), now())"
                ),
                {"run": run, "task": task, "dag": PREFIX + POLICY, "run_id": run_id, "value": value.decode()},
            )


def _enter_planning(connection: Connection, now: datetime) -> None:
    """Enter a run of the restore wizard whose plan is not there yet."""
    conf = '{"dry_run": true, "point": "bench", "repository": "vmkeep_default", "vsphere": "vsphere_default"}'
    _enter_run(connection, "vm_restore", PLANNING, state="running", began=now, ended=None, conf=conf)
    _enter_task(connection, "vm_restore", PLANNING, "plan", state="running", began=now)


def _enter_run(
    connection: Connection, dag_id: str, run_id: str, *, state: str, began: datetime, ended: datetime | None, conf: str
) -> int:
    values = {"dag": dag_id, "run": run_id, "state": state, "began": began, "ended": ended, "conf": conf}
    return int(connection.execute(text(
        "INSERT INTO dag_run (dag_id, run_id, run_type, state, queued_at, run_after, start_date, end_date, conf,"
        " created_at, updated_at, clear_number, span_status, logical_date, triggered_by) VALUES (:dag, :run,"
        " 'scheduled', :state, :began, :began, :began, :ended, CAST(:conf AS jsonb), :began, :began, 0, 'ended',"
        " :began, 'TIMETABLE') RETURNING id"
    ), values).scalar_one())  # fmt: skip


def _enter_task(connection: Connection, dag_id: str, run_id: str, task: str, *, state: str, began: datetime) -> None:
    values = {"dag": dag_id, "run": run_id, "task": task, "state": state, "began": began}
    connection.execute(text(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, state, try_number, max_tries,"
        " hostname, unixname, pool, pool_slots, queue, priority_weight, operator, last_heartbeat_at, updated_at,"
        " span_status) VALUES (gen_random_uuid(), :task, :dag, :run, -1, :began, :state, 1, 3, 'proxy1', 'airflow',"
        " 'default_pool', 1, 'default', 1, 'Bench', now(), now(), 'active')"
    ), values)  # fmt: skip
