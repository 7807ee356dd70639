"""Each backup proxy has a queue and a pool of its own, and a run names the one that does its work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from demo.airflow_home import AirflowHome
from tests.patience import HANG
from vmkeep.errors import UsageError
from vmkeep_airflow.proxies import BACKUP_PROXY, reaches

ROOT = Path(__file__).resolve().parents[2]
SCHEDULER = """
import json, os, sys
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.jobs.job import Job
from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
from airflow.models import DagRun
from airflow.models.pool import Pool
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import clear_task_instances
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.sqlalchemy import prohibit_commit
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete, select, update
from vmkeep_airflow.pools import on_starting

LONG_AGO = timezone.datetime(2026, 1, 1)
scheduler = SchedulerJobRunner(Job())
on_starting(scheduler.job)
DagBundlesManager().sync_bundles_to_db()
sync_bag_to_db(DagBag(sys.argv[1], bundle_name="dags-folder"), "dags-folder", bundle_version=None)


def trigger(name, **conf):
    with create_session() as session:
        dag = SerializedDagModel.get_dag("vm_backup", session=session)
        run = dag.create_dagrun(
            run_id=name, conf={"vm": "app01", **conf}, run_type=DagRunType.MANUAL, state="queued",
            run_after=LONG_AGO, triggered_by=DagRunTriggeredByType.TEST, session=session,
        )
        return {each.task_id: (each.queue, each.pool) for each in run.get_task_instances(session=session)}


def start(name):
    with create_session() as session, prohibit_commit(session) as guard:
        scheduler._start_queued_dagruns(session)
        guard.commit()
    with create_session() as session:
        run = session.scalar(select(DagRun).filter_by(run_id=name))
        return {"state": str(run.state), "note": run.note}


def clear(name):
    with create_session() as session:
        run = session.scalar(select(DagRun).filter_by(run_id=name))
        run.set_state("failed")
        session.flush()
        clear_task_instances(run.get_task_instances(session=session), session)


def pools():
    with create_session() as session:
        return sorted(pool.pool for pool in Pool.get_pools(session=session))


def change(statement):
    with create_session() as session:
        session.execute(statement)


seen = {"pools": pools()}
seen["usual"] = trigger("usual")
seen["named"] = trigger("named", proxy="site-b")
seen["started"] = start("named")

change(delete(Pool).where(Pool.pool.in_(["backup_proxy", "site-b"])))
trigger("without-a-pool")
seen["without a pool"] = start("without-a-pool")
seen["pools made again"] = pools()

change(update(Pool).where(Pool.pool == "site-b").values(slots=0))
trigger("without-slots", proxy="site-b")
seen["without slots"] = start("without-slots")
trigger("with-slots", proxy="site-c")
seen["with slots"] = start("with-slots")

trigger("mistyped", Full=True)
seen["mistyped"] = start("mistyped")

os.environ["AIRFLOW__VMKEEP__PROXIES"] = "site-c"
clear("named")
seen["cleared"] = start("named")
os.environ["AIRFLOW__VMKEEP__PROXIES"] = "site-b"
clear("named")
seen["listed again"] = start("named")
print(json.dumps(seen))
"""
"""The parts of a scheduler that make and start runs, with the plugin listening; no task is executed."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return the places and states of runs in an Airflow with further proxies."""
    home = AirflowHome(tmp_path_factory.mktemp("airflow"))
    home.set("vmkeep", "proxies", "site-b, site-c")
    home.prepare()
    done = subprocess.run(
        [sys.executable, "-c", SCHEDULER, str(ROOT / "dags")], env=home.environment(), check=False, timeout=HANG,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_that_names_a_proxy_has_every_task_of_a_proxy_there(seen):
    usual, named = seen["usual"], seen["named"]
    assert {task for task, (queue, _) in usual.items() if queue == BACKUP_PROXY} >= {"preflight", "snapshot"}
    for task, (queue, pool) in usual.items():
        assert named[task] == ["site-b" if place == BACKUP_PROXY else place for place in (queue, pool)], task


def test_each_proxy_has_a_pool_of_its_own_from_the_start(seen):
    assert {BACKUP_PROXY, "site-b", "site-c"} <= set(seen["pools"])


def test_a_run_cleared_after_its_proxy_left_the_list_fails_at_once_with_why(seen):
    assert seen["started"] == {"state": "running", "note": "app01"}
    cleared = seen["cleared"]
    assert cleared["state"] == "failed"
    about, why = cleared["note"].splitlines()
    assert about == "app01"
    assert "'site-b'" in why
    assert "backup_proxy, site-c" in why


def test_a_run_whose_proxy_is_listed_again_can_be_cleared(seen):
    assert seen["listed again"]["state"] == "running"


def test_a_run_with_a_field_that_its_dag_does_not_know_fails_at_once_and_names_it(seen):
    """Else it is ignored: a backup that is not in full, or a prune that is no dry run."""
    assert seen["mistyped"]["state"] == "failed"
    _, why = seen["mistyped"]["note"].splitlines()
    assert "no field 'Full'. It has vm, full, include, exclude" in why


def test_a_pool_that_was_deleted_is_made_again_as_a_run_starts(seen):
    assert seen["without a pool"] == {"state": "running", "note": "app01"}
    assert seen["pools made again"] == seen["pools"]


def test_a_run_whose_pool_has_no_slots_says_so_in_its_note(seen):
    assert seen["without slots"]["state"] == "running"
    about, why = seen["without slots"]["note"].splitlines()
    assert about == "app01"
    assert "site-b has no slots" in why
    assert seen["with slots"] == {"state": "running", "note": "app01"}


@pytest.mark.parametrize(
    "dag_id",
    ["vm_backup", "vm_restore", "disk_attach", "snapshot_sweep", "host_config_backup", "disaster_recovery"],
)
def test_a_proxy_that_airflow_does_not_list_is_refused_before_the_run_begins(dag_id):
    params = DagBag(str(ROOT / "dags" / f"{dag_id}.py")).dags[dag_id].params
    assert params.get_param("proxy").value == BACKUP_PROXY
    with pytest.raises(ValueError, match="site-x"):
        params["proxy"] = "site-x"


def test_a_worker_imports_no_engine_because_of_the_policy():
    """Airflow loads policies in each of its processes, before anything else."""
    code = "import sys, airflow; print([name for name in ('vmkeep.flows', 'pyVmomi', 'numpy') if name in sys.modules])"
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, check=True, stdout=subprocess.PIPE, text=True, timeout=HANG
    ).stdout
    assert said.splitlines()[-1] == "[]"


@pytest.mark.parametrize("module", ["pools", "params", "plugin", "proxies"])
def test_each_module_can_be_the_first_to_import_airflow(module):
    """Airflow imports the policy while it is itself being imported: a circle, if the policy needs that module."""
    code = f"import vmkeep_airflow.{module}, airflow.settings as s; print(s.get_policy_plugin_manager().get_plugins())"
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, check=True, stdout=subprocess.PIPE, text=True, timeout=HANG
    ).stdout
    assert "vmkeep_airflow.routing" in said


def test_each_proxy_is_told_with_the_vms_that_it_reaches_best(monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PROXIES", "san, site-b")
    assert reaches() == {BACKUP_PROXY: None, "san": None, "site-b": None}
    monkeypatch.setenv("AIRFLOW__VMKEEP__PROXY_REACH", '{"san": "datastore:san-*"}')
    assert {name: selector and str(selector) for name, selector in reaches().items()} == {
        BACKUP_PROXY: None,
        "san": "datastore:san-*",
        "site-b": None,
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("san=datastore:x", "is no JSON"),
        ('["san"]', "has to be like"),
        ('{"san": 1}', "has to be like"),
        ('{"sna": "any:"}', r"names sna, and \[vmkeep\] proxies lists backup_proxy, san"),
        ('{"san": "datastore"}', "proxy_reach, san: "),
        ('{"san": "name:(("}', "proxy_reach, san: "),
    ],
)
def test_a_reach_with_a_fault_is_told(monkeypatch, given, told):
    monkeypatch.setenv("AIRFLOW__VMKEEP__PROXIES", "san")
    monkeypatch.setenv("AIRFLOW__VMKEEP__PROXY_REACH", given)
    with pytest.raises(UsageError, match=told):
        reaches()
