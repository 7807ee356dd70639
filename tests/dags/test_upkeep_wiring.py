"""How the two DAGs that keep a repository in shape are wired: a failure that a last task hides would look green."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).resolve().parents[2] / "dags"
NAMES = ("repository_maintenance", "repository_check")


@pytest.fixture(scope="module")
def dags():
    bag = DagBag(str(DAGS))
    return {name: bag.dags[name] for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_one_run_at_a_time_by_day_and_only_once_switched_on(dags, name):
    assert dags[name].max_active_runs == 1
    assert not dags[name].catchup
    assert dags[name].is_paused_upon_creation


@pytest.mark.parametrize("name", NAMES)
def test_a_report_comes_last_whatever_happened_and_is_not_retried(dags, name):
    report = dags[name].task_dict["report"]
    others = {task.task_id for task in dags[name].tasks} - {"report"}
    assert {task.task_id for task in report.get_flat_relatives(upstream=True)} == others
    assert not report.downstream_task_ids
    assert report.trigger_rule == "all_done"
    assert report.retries == 0
    assert set(report.results_of) == others


def test_points_are_marked_after_a_check_that_failed(dags):
    marking = dags["repository_check"].task_dict["mark_damaged"]
    assert marking.upstream_task_ids == {"check"}
    assert marking.trigger_rule == "all_done"


@pytest.mark.parametrize("task_id", ["merge", "extend_locks"])
def test_the_index_is_merged_and_locks_go_on_after_the_prune_whatever_became_of_it(dags, task_id):
    task = dags["repository_maintenance"].task_dict[task_id]
    assert task.upstream_task_ids == {"prune"}
    assert task.trigger_rule == "all_done"


def test_no_vcenter_is_needed(dags):
    for dag in dags.values():
        assert "vsphere" not in dag.params
        assert not any(hasattr(task, "vsphere_conn_id") for task in dag.tasks)


def test_what_is_not_filled_in_keeps_nothing_and_so_forgets_nothing(dags):
    dag = dags["repository_maintenance"]
    keep = {name for name in dag.params if name.startswith("keep_")}
    assert {name: dag.params.get_param(name).resolve() for name in keep} == dict.fromkeys(keep)
    assert {f"keep_{kind}" for kind in dag.task_dict["prune"].keep} == keep


@pytest.mark.parametrize(
    ("name", "param", "value"),
    [
        ("repository_maintenance", "keep_last", 0),
        ("repository_maintenance", "keep_daily", 1.5),
        ("repository_maintenance", "keep_weekly", "8"),
        ("repository_maintenance", "grace_hours", -1),
        ("repository_check", "days", 0),
        ("repository_check", "read_data", "yes"),
    ],
)
def test_a_wrong_value_is_refused_by_its_param(dags, name, param, value):
    with pytest.raises(ValueError):
        dags[name].params.get_param(param).resolve(value)
