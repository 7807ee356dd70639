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
from vmkeep_airflow.proxies import BACKUP_PROXY

ROOT = Path(__file__).resolve().parents[2]
PLACE = """
import json, sys
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models import DagRun
from airflow.models.pool import Pool
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils import timezone
from airflow.utils.session import create_session
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from vmkeep_airflow.pools import create_missing_pools

create_missing_pools()
DagBundlesManager().sync_bundles_to_db()
sync_bag_to_db(DagBag(sys.argv[1], bundle_name="dags-folder"), "dags-folder", bundle_version=None)
places = {}
for name, conf in {"usual": {}, "named": {"proxy": "site-b"}}.items():
    with create_session() as session:
        dag = SerializedDagModel.get_dag("vm_backup", session=session)
        run = dag.create_dagrun(
            run_id=name, conf={"vm": "app01", **conf}, run_type=DagRunType.MANUAL, state="queued",
            run_after=timezone.utcnow(), triggered_by=DagRunTriggeredByType.TEST, session=session,
        )
        places[name] = {each.task_id: (each.queue, each.pool) for each in run.get_task_instances(session=session)}
with create_session() as session:
    pools = sorted(pool.pool for pool in Pool.get_pools(session=session))
print(json.dumps({"places": places, "pools": pools}))
"""


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """An Airflow with a further proxy: where the tasks of a run go that names it, and of one that names none."""
    home = AirflowHome(tmp_path_factory.mktemp("airflow"))
    home.set("vmkeep", "proxies", "site-b, site-c")
    home.prepare()
    done = subprocess.run(
        [sys.executable, "-c", PLACE, str(ROOT / "dags")], env=home.environment(), check=False, timeout=HANG,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_a_run_that_names_a_proxy_has_every_task_of_a_proxy_there(placed):
    usual, named = placed["places"]["usual"], placed["places"]["named"]
    assert {task for task, (queue, _) in usual.items() if queue == BACKUP_PROXY} >= {"preflight", "snapshot"}
    for task, (queue, pool) in usual.items():
        assert named[task] == ["site-b" if place == BACKUP_PROXY else place for place in (queue, pool)], task


def test_each_proxy_has_a_pool_of_its_own_from_the_start(placed):
    assert {BACKUP_PROXY, "site-b", "site-c"} <= set(placed["pools"])


@pytest.mark.parametrize("dag_id", ["vm_backup", "vm_restore", "snapshot_sweep"])
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
