"""How the tasks of a backup depend on each other: a wrong arrow here is a failed backup that looks green."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def dag():
    return DagBag(str(DAGS / "vm_backup.py")).dags["vm_backup"]


def test_the_snapshot_is_a_setup_and_its_removal_the_teardown(dag):
    assert dag.task_dict["snapshot"].is_setup
    removal = dag.task_dict["remove_snapshot"]
    assert removal.is_teardown
    assert removal.on_failure_fail_dagrun
    assert "snapshot" in removal.upstream_task_ids


def test_the_snapshot_knows_each_task_that_uses_it(dag):
    snapshot, removal = dag.task_dict["snapshot"], dag.task_dict["remove_snapshot"]
    after = {task.task_id for task in snapshot.get_flat_relatives(upstream=False)}
    before = {task.task_id for task in removal.get_flat_relatives(upstream=True)}
    assert set(snapshot.used_by) == after & before


def test_the_run_is_closed_by_a_teardown_after_everything_else(dag):
    closing = dag.task_dict["close_run"]
    assert closing.is_teardown
    assert closing.on_failure_fail_dagrun
    others = {task.task_id for task in dag.tasks} - {"close_run"}
    assert {task.task_id for task in closing.get_flat_relatives(upstream=True)} == others
    assert not closing.downstream_task_ids


def test_the_asset_event_comes_from_the_last_task_only(dag):
    announcing = [task.task_id for task in dag.tasks if task.outlets]
    assert announcing == ["close_run"]


def test_the_snapshot_is_removed_only_after_copies_and_seal(dag):
    assert {"copy_disk", "catalog"} <= dag.task_dict["remove_snapshot"].upstream_task_ids


def test_copies_are_mapped_one_per_disk_limited_by_the_pool_and_retried(dag):
    copy = dag.task_dict["copy_disk"]
    assert copy.is_mapped
    assert copy.pool == "backup_proxy"
    assert copy.retries == 3
    assert copy.retry_exponential_backoff == 2.0


def test_a_first_step_outlives_the_restart_of_a_vcenter(dag):
    first = dag.task_dict["preflight"]
    begin = 10  # the shortest [core] default_task_retry_delay that is shipped
    pauses = [min(begin * 2**number, first.max_retry_delay.total_seconds()) for number in range(first.retries)]
    assert first.retry_exponential_backoff == 2.0
    assert sum(pauses) > 600


def test_no_vm_gets_a_snapshot_while_copies_wait_for_a_slot(dag):
    """One pool holds a snapshot's task and the copies; of what waits for a slot, Airflow takes the weightiest first."""
    chain = ["snapshot", "plan_disks", "copy_disk"]
    tasks = [dag.task_dict[task_id] for task_id in chain]
    assert {task.pool for task in tasks} == {"backup_proxy"}
    assert {task.weight_rule for task in tasks} == {"upstream"}


def test_what_ends_a_run_never_waits_for_a_slot_of_the_copies(dag):
    ending = [dag.task_dict[task_id] for task_id in ("catalog", "remove_snapshot", "verify", "close_run")]
    assert {task.pool for task in ending} == {"default_pool"}
    assert dag.max_active_tasks >= 1000


def test_a_missing_vm_is_refused_by_the_params(dag):
    with pytest.raises(ValueError, match="No value passed"):
        dag.params.validate()


@pytest.mark.parametrize(
    ("name", "value"), [("vm", ""), ("mode", "HOT"), ("quiesce", "maybe"), ("verify", 2), ("transports", ["carrier"])]
)
def test_a_wrong_value_is_refused_by_its_param(dag, name, value):
    with pytest.raises(ValueError):
        dag.params.get_param(name).resolve(value)
