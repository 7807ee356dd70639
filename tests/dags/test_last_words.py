"""The last task of a run: it demands the state and the result of every step, and names the one that lacks either."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.flows.backup_values import BackupRequest, Preflight
from vmkeep.model.job import to_plain
from vmkeep.model.point import BackupMode, Quiesce, VmIdentity
from vmkeep_airflow.operators.catalog import CatalogOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.copy_disk import CopyDiskOperator
from vmkeep_airflow.operators.plan_disks import PlanDisksOperator
from vmkeep_airflow.operators.remove_snapshot import RemoveSnapshotOperator
from vmkeep_airflow.operators.report import ReportOperator
from vmkeep_airflow.operators.snapshot import SnapshotOperator
from vmkeep_airflow.operators.verify import VerifyOperator
from vmkeep_airflow.states import PROBLEMS, ended_already

STEPS = {
    "preflight": [{}],
    "snapshot": [{}],
    "plan_disks": [[]],
    "copy_disk": [{}, {}],
    "catalog": [{"point": "p/1", "vm": "app01"}],
    "remove_snapshot": [{}],
    "verify": [{}],
}
"""Results that each task of a good run leaves."""


class Run(SimpleNamespace):
    """The context that Airflow gives a task of its run."""

    def __init__(self, states, results, try_number=1, problems=None) -> None:
        super().__init__(dag_id="d", run_id="r", task_id="last", try_number=try_number, problems=problems)
        self.states, self.results, self.pushed = states, results, {}

    def get_task_states(self, dag_id, run_ids):
        return {"r": self.states}

    def xcom_pull(self, task_ids, key="return_value"):
        if key == PROBLEMS:
            return self.problems
        if isinstance(task_ids, str):
            return next(iter(self.results.get(task_ids, ())), None)
        return self.results.get(task_ids[0]) or [None]

    def xcom_push(self, key, value):
        self.pushed[key] = value


def states(results) -> dict[str, str]:
    return {
        task if len(found) == 1 else f"{task}_{index}": "success"
        for task, found in results.items()
        for index in range(len(found))
    }


def close(run) -> object:
    last = CloseRunOperator(task_id="last", result_task_id="catalog")
    last.get_flat_relative_ids = lambda *, upstream: set(STEPS)
    return last.execute({"ti": run})


def test_a_run_whose_steps_all_left_results_is_closed_with_that_of_its_point():
    assert close(Run(states(STEPS), STEPS)) == {"point": "p/1", "vm": "app01"}


def test_what_was_not_cleared_with_the_snapshot_is_found_and_what_was_cleared_is_not():
    found = states(STEPS) | {"plan_disks": None, "catalog": "upstream_failed"}
    used_by = ("plan_disks", "copy_disk", "catalog")
    assert ended_already({"ti": Run(found, STEPS)}, used_by) == ["copy_disk", "catalog"]
    cleared = found | {"copy_disk_0": None, "copy_disk_1": None, "catalog": None}
    assert ended_already({"ti": Run(cleared, STEPS)}, used_by) == []


def test_no_second_snapshot_is_taken_for_steps_that_were_not_cleared_with_it(monkeypatch):
    """Nothing serves the vCenter's address, so that whoever goes on fails by that."""
    vcenter = {"conn_type": "vsphere", "host": "127.0.0.1", "port": 1, "login": "me", "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_VC", json.dumps(vcenter))
    monkeypatch.setenv("AIRFLOW_CONN_REPO", '{"conn_type": "vmkeep", "host": "/nowhere"}')
    planned = Preflight(
        request=BackupRequest(vm_selector="app01", run="r"), vm=VmIdentity(name="app01", key="k"), disks=(),
        running=True, tracked=True, mode=BackupMode.SNAPSHOT_EXCL_MEM, quiesce=Quiesce.NONE, parent=None,
    )  # fmt: skip
    again = SnapshotOperator(
        task_id="last", preflight=to_plain(planned), used_by=("plan_disks", "copy_disk"), vsphere_conn_id="vc",
        repository_conn_id="repo",
    )  # fmt: skip
    run = Run(states(STEPS) | {"plan_disks": None}, STEPS, try_number=2)
    run.max_tries = 3

    with pytest.raises(AirflowFailException, match="no snapshot is taken, because task copy_disk was not cleared"):
        again.execute({"ti": run})


@pytest.mark.parametrize("task", STEPS)
def test_a_step_that_left_no_result_is_named(task):
    with pytest.raises(AirflowFailException, match=f"task {task} left no result"):
        close(Run(states(STEPS), {**STEPS, task: STEPS[task][1:]}))


@pytest.mark.parametrize("task", STEPS)
def test_a_step_that_somebody_has_deleted_is_named(task):
    instance = task if len(STEPS[task]) == 1 else f"{task}_0"
    left = {name: state for name, state in states(STEPS).items() if name != instance}
    with pytest.raises(AirflowFailException, match=f"task {task} is gone"):
        close(Run(left, STEPS))


@pytest.mark.parametrize("state", ["failed", "skipped", "upstream_failed", "running", None])
@pytest.mark.parametrize("task", STEPS)
def test_a_step_that_did_not_end_well_is_named_with_its_state(task, state):
    instance = task if len(STEPS[task]) == 1 else f"{task}_1"
    with pytest.raises(AirflowFailException, match=f"{instance} {state or 'not run'}"):
        close(Run({**states(STEPS), instance: state}, STEPS))


def test_a_disk_that_a_cleared_run_has_no_more_counts_for_nothing():
    assert close(Run({**states(STEPS), "copy_disk_2": "removed"}, STEPS))


def test_a_run_of_whose_problems_people_could_not_be_told_fails():
    last = CloseRunOperator(task_id="last", result_task_id="catalog", problems_of=("verify",))
    last.get_flat_relative_ids = lambda *, upstream: set(STEPS)
    assert last.execute({"ti": Run(states(STEPS), STEPS, problems=[])})
    with pytest.raises(AirflowFailException, match="no mail"):
        last.execute({"ti": Run(states(STEPS), STEPS, problems=["no mail"])})


def test_a_report_fails_for_a_task_without_a_result_and_keeps_those_of_the_others(monkeypatch):
    results = {"prune": [{"plan": {}}], "merge": []}
    run = Run({"prune": "success", "merge": "success"}, results)
    report = ReportOperator(task_id="last", results_of=list(results))
    monkeypatch.setattr(ReportOperator, "log", logging.getLogger("test"))
    with pytest.raises(AirflowFailException, match="merge left no result"):
        report.execute({"ti": run})
    assert run.pushed["return_value"] == {"prune": {"plan": {}}, "merge": None}


def test_a_report_fails_for_the_problems_of_a_watch_that_ended_well_and_keeps_its_result():
    report = ReportOperator(task_id="last", results_of=["find"], problems_of=["find"])
    found = Run({"find": "success"}, {"find": [{"nightly": "off"}]}, problems=["nightly: off", "a: no mail"])
    with pytest.raises(AirflowFailException, match="nightly: off; a: no mail"):
        report.execute({"ti": found})
    assert found.pushed["return_value"] == {"find": {"nightly": "off"}}
    for none in ([], None):
        quiet = Run({"find": "success"}, {"find": [{}]}, problems=none)
        assert report.execute({"ti": quiet}) == {"find": {}}


@pytest.mark.parametrize(
    ("operator", "by"),
    [
        (SnapshotOperator(task_id="t", preflight=None), "preflight"),
        (PlanDisksOperator(task_id="t", held=None), "snapshot"),
        (CopyDiskOperator(task_id="t", job=None), "plan_disks"),
        (CatalogOperator(task_id="t", held=None, copies=[]), "snapshot"),
        (VerifyOperator(task_id="t", sealed=None), "catalog"),
        (RemoveSnapshotOperator(task_id="t", held=None, preflight_task_id="preflight"), "preflight"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_a_step_names_the_one_before_it_that_left_nothing(operator, by, monkeypatch):
    monkeypatch.setattr(operator, "site", lambda: None)
    with pytest.raises(AirflowFailException, match=f"task {by} left no result"):
        operator.execute({"ti": Run({}, {})})


def test_a_result_of_another_version_is_told_from_a_missing_one():
    with pytest.raises(AirflowFailException, match="the result of task snapshot"):
        PlanDisksOperator(task_id="t", held={"old": 1}).execute({})
