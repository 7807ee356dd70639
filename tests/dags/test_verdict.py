"""Airflow's own judgement over a run, with the plugin listening: marks by hand and single clears never stay green.

A run of each DAG is made in a real Airflow database, its tasks put into the states and left with the results that a
worker would leave. Nothing is executed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.api_fastapi.execution_api.datamodels.asset import AssetProfile
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db
from airflow.models.asset import AssetDagRunQueue
from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskmap import TaskMap
from airflow.models.xcom import XComModel
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.serialization.definitions.dag import SerializedDAG
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from sqlalchemy import delete, select

from vmkeep.clock import now
from vmkeep_airflow.assets import ANNOUNCED, RESTORE_POINTS, restore_points_of
from vmkeep_airflow.causes import KEY, REASON
from vmkeep_airflow.secondperson import require_first
from vmkeep_airflow.states import PROBLEMS, skip_itself
from vmkeep_airflow.verdict import (
    on_dag_run_success,
    on_task_instance_failed,
    on_task_instance_skipped,
    on_task_instance_success,
)

# Airflow's plugin loader uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

CONF = {
    "vm_backup": {"vm": "app01"},
    "vm_restore": {"point": "latest:app01"},
    "disk_attach": {"point": "latest:app01", "disks": ["scsi0:1"], "vm": "app02"},
    "disaster_recovery": {"plan": "name: x"},
    "restore_undo": {"vm": "app01"},
    "restore_accept": {"vm": "app01"},
}
TASKS = {
    "vm_backup": [
        "preflight", "snapshot", "plan_disks", "copy_disk", "catalog", "remove_snapshot", "verify", "close_run",
    ],
    "vm_restore": [
        "plan", "approve", "prepare_target", "plan_writes", "write_disk", "finish", "clean_up", "close_run",
    ],
    "repository_check": ["check", "mark_damaged", "report"],
    "repository_maintenance": ["approve", "prune", "extend_locks", "merge", "report"],
    "snapshot_sweep": ["sweep"],
    "disk_attach": ["attach", "close_run"],
    "restore_undo": ["find", "approve", "undo", "close_run"],
    "restore_accept": ["find", "approve", "accept", "close_run"],
    "missed_backups": ["find", "find_hosts", "find_unproved", "examine_places", "report"],
    "missed_windows": ["find", "report"],
    "data_quality": ["check", "report"],
    "host_config_backup": ["back_up_hosts", "report"],
    "proxy_check": ["examine_backup_proxy", "report"],
    "disaster_recovery": ["approve", "recover", "vm", "clean_up", "report"],
}  # fmt: skip
EACH = [(dag_id, task_id) for dag_id, task_ids in TASKS.items() for task_id in task_ids]
EACH_BUT_THE_LAST = [(dag_id, task_id) for dag_id, task_ids in TASKS.items() for task_id in task_ids[:-1]]


@pytest.fixture(scope="module", autouse=True)
def known_dags() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # what Airflow deprecates in itself is no error of ours
        import_module("airflow.api_fastapi.core_api.services.public.dag_run")
        manager = DagBundlesManager()
        manager.sync_bundles_to_db()
        for bundle in manager.get_all_dag_bundles():
            bundle.initialize()
            bag = BundleDagBag(dag_folder=bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
            sync_bag_to_db(bag, bundle.name, bundle.version)


@dataclass(frozen=True)
class Finished:
    """A run in the database whose tasks have all ended well. Each test changes it, and takes its changes back."""

    run_id: str
    dag: SerializedDAG
    clock: datetime

    @classmethod
    @cache
    def of(cls, dag_id: str) -> Finished:
        """Make it, once for all tests, because that takes longer than most of them."""
        with create_session() as session:
            dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
            made = dag.create_dagrun(
                run_id=f"finished-{dag_id}", run_after=now(), run_type=DagRunType.MANUAL, state=DagRunState.RUNNING,
                triggered_by=DagRunTriggeredByType.TEST, conf=CONF.get(dag_id, {}), session=session,
            )  # fmt: skip
            run = Run(cls(made.run_id, dag, now()), session)
            for task_id in TASKS[dag_id]:
                if dag.get_task(task_id).is_mapped:
                    run.expand(task_id)
                for ti in run.instances(task_id):
                    run.work(ti)
            return cls(made.run_id, dag, run.clock)


class Run:
    """A run whose tasks have all ended well, as workers end them: one after the other, each with a result."""

    def __init__(self, finished: Finished, session) -> None:
        self.session = session
        self.dag = finished.dag
        self.run = session.scalar(select(DagRun).where(DagRun.run_id == finished.run_id))
        assert self.run.state == DagRunState.RUNNING, "a test has kept its changes"
        self.run.dag = self.dag
        self.clock = finished.clock

    def expand(self, task_id: str) -> None:
        (source,) = self.dag.get_task(task_id).iter_mapped_dependencies()
        ids = {"dag_id": self.dag.dag_id, "task_id": source.task_id, "run_id": self.run.run_id}
        self.session.add(TaskMap(**ids, map_index=-1, length=2, keys=None))
        self.session.flush()
        self.run.task_instance_scheduling_decisions(session=self.session)

    def instances(self, task_id: str):
        return [ti for ti in self.run.get_task_instances(session=self.session) if ti.task_id == task_id]

    def work(self, ti) -> None:
        """End a task as a worker ends it, with a result."""
        self.clock += timedelta(seconds=10)
        ti.scheduled_dttm = self.clock
        ti.state = "success"
        self.forget_result(ti)
        self.leave(ti, "return_value", {})

    def leave(self, ti, key: str, value: object) -> None:
        """Leave a value of a task for others."""
        XComModel.set(
            key, value, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index,
            session=self.session,
        )  # fmt: skip
        self.session.flush()

    def forget_result(self, ti) -> None:
        self.session.execute(
            delete(XComModel).where(
                XComModel.run_id == ti.run_id, XComModel.task_id == ti.task_id, XComModel.map_index == ti.map_index
            )
        )

    def mark(self, task_id: str, state: TaskInstanceState) -> None:
        """Do what Airflow's API does for a mark by hand."""
        from airflow.api_fastapi.core_api.services.public.task_instances import _emit_state_listener_hooks

        altered = self.dag.set_task_instance_state(
            task_id=task_id, run_id=self.run.run_id, state=state, session=self.session
        )
        _emit_state_listener_hooks(altered, state)

    def begin(self) -> None:
        """Let the run begin again as Airflow's scheduler does."""
        self.run.set_state(DagRunState.RUNNING)
        self.run.notify_dagrun_state_changed("started")

    def close(self) -> str:
        """Let Airflow judge as its scheduler does, and return the run's state."""
        self.run.update_state(session=self.session)
        return self.state

    @property
    def state(self) -> str:
        return str(self.run.state)


@pytest.fixture
def make_run() -> Iterator:
    with create_session() as session:

        def as_it_ended(dag_id: str) -> Run:
            finished = Finished.of(dag_id)
            session.rollback()  # what the run of before has come to in this test
            return Run(finished, session)

        yield as_it_ended
        session.rollback()


@pytest.mark.parametrize("dag_id", TASKS)
def test_a_run_whose_tasks_all_ended_well_and_left_their_results_is_a_success(make_run, dag_id):
    assert make_run(dag_id).close() == "success"


@pytest.mark.parametrize(("dag_id", "task_id"), EACH)
def test_no_run_is_green_with_a_task_in_it_that_did_not_end_well_or_was_marked_a_success_as_it_worked(
    make_run, dag_id, task_id
):
    run = make_run(dag_id)
    ti = run.instances(task_id)[-1]
    run.forget_result(ti)
    for state in ("success", "failed", "upstream_failed", "skipped"):
        ti.state = state
        assert run.close() == "failed", state
        assert f"{task_id}" in run.run.note or state != "success", "the run says why a mark does not count"
        run.run.set_state(DagRunState.RUNNING)


@pytest.mark.parametrize(("dag_id", "task_id"), EACH_BUT_THE_LAST)
def test_a_task_that_was_cleared_alone_and_ended_well_is_vouched_for_by_nobody(make_run, dag_id, task_id):
    run = make_run(dag_id)
    assert run.close() == "success"
    run.run.set_state(DagRunState.RUNNING)
    run.work(run.instances(task_id)[-1])
    assert run.close() == "failed"
    run.run.set_state(DagRunState.RUNNING)
    run.work(run.instances(TASKS[dag_id][-1])[0])
    assert run.close() == "success", "the last task has looked again"


@pytest.mark.parametrize(("dag_id", "task_id"), EACH_BUT_THE_LAST)
def test_no_run_is_green_that_lacks_a_task_because_somebody_has_deleted_it(make_run, dag_id, task_id):
    """Airflow's API deletes single tasks of a run."""
    run = make_run(dag_id)
    run.session.delete(run.instances(task_id)[-1])
    run.session.flush()
    run.session.expire(run.run)
    run.run.dag = run.dag
    assert run.close() == "failed"
    assert f"{task_id}" in run.run.note
    assert "somebody has deleted it" in run.run.note


@pytest.mark.parametrize(("dag_id", "task_id"), EACH)
@pytest.mark.parametrize("state", [TaskInstanceState.FAILED, TaskInstanceState.SKIPPED])
def test_a_mark_by_hand_turns_a_finished_green_run_red(make_run, dag_id, task_id, state):
    run = make_run(dag_id)
    assert run.close() == "success"
    run.mark(task_id, state)
    assert run.state == "failed"


@pytest.mark.parametrize(("dag_id", "task_id"), EACH)
def test_a_task_that_is_marked_a_success_by_hand_loses_the_result_of_its_earlier_try(make_run, dag_id, task_id):
    run = make_run(dag_id)
    run.instances(task_id)[0].state = None  # as a clear leaves it, which keeps the result until the next try begins
    run.session.flush()
    run.mark(task_id, TaskInstanceState.SUCCESS)
    assert run.close() == "failed"


def test_a_task_that_ends_in_its_worker_is_no_mark_by_hand():
    """Airflow calls the same listeners there, with a task that no database holds."""
    in_a_worker = partial(on_task_instance_failed, TaskInstanceState.RUNNING)
    for listener in (on_task_instance_success, in_a_worker, on_task_instance_skipped):
        listener(task_instance=SimpleNamespace(dag_id="vm_backup"))


@pytest.mark.parametrize("dag_id", TASKS)
def test_a_run_that_is_marked_a_success_by_hand_stays_red_when_a_task_failed(make_run, dag_id):
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state

    run = make_run(dag_id)
    run.instances(TASKS[dag_id][-1])[0].state = "failed"
    assert run.close() == "failed"
    patch_dag_run_state(dag=run.dag, dag_run=run.run, state=DagRunMutableStates.SUCCESS, session=run.session)
    assert run.state == "failed"


@pytest.mark.parametrize("state", ["success", "failed"])
@pytest.mark.parametrize(("dag_id", "first"), [("vm_backup", "remove_snapshot"), ("vm_restore", "clean_up")])
def test_a_run_that_is_marked_by_hand_goes_on_until_it_has_cleaned_up_and_ends_red(make_run, dag_id, first, state):
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state

    run = make_run(dag_id)
    copying, *later = TASKS[dag_id][-5:]  # the task of each disk, and what follows it
    for task_id in (copying, *later):
        for ti in run.instances(task_id):
            ti.state = "running" if task_id == copying else None
            run.forget_result(ti)
    run.session.flush()

    patch_dag_run_state(dag=run.dag, dag_run=run.run, state=DagRunMutableStates(state), session=run.session)

    assert run.state == "running", "Airflow schedules no task of a run that has ended"
    decided = run.run.task_instance_scheduling_decisions(session=run.session)
    assert [ti.task_id for ti in decided.schedulable_tis] == [first]
    run.work(run.instances(first)[0])
    assert run.close() == "running", "the last task has not looked"
    run.instances("close_run")[0].state = "failed"
    assert run.close() == "failed"
    word = "a success" if state == "success" else state
    assert f"marked as {word} by hand" in run.run.note.splitlines()
    assert "Failed at task" not in run.run.note, "no task is blamed for it"
    run.begin()
    assert "by hand" not in (run.run.note or ""), "it may end otherwise now"


@pytest.mark.parametrize(
    ("answer", "told"),
    [({"kept": True}, "the VM exists and was kept"), ({"dry_run": True}, "only the plan was asked for")],
)
def test_a_restore_with_nothing_to_do_is_green_and_one_skipped_by_hand_is_not(make_run, answer, told):
    for by_itself, state in ((True, "success"), (False, "failed")):
        run = make_run("vm_restore")
        for task_id in TASKS["vm_restore"][1:-1]:
            for ti in run.instances(task_id):
                ti.state = "skipped"
                run.forget_result(ti)
                if by_itself and task_id == "approve":
                    run.leave(ti, "return_value", answer)
        assert run.close() == state
        assert (told in (run.run.note or "")) is by_itself


def test_a_run_whose_only_task_finds_nothing_to_do_is_green_and_one_skipped_by_hand_is_not(make_run):
    for left, state in (({"skipped": "nothing to sweep yet"}, "success"), (None, "failed")):
        run = make_run("snapshot_sweep")
        (ti,) = run.instances("sweep")
        ti.state = "skipped"
        run.forget_result(ti)
        if left:
            run.leave(ti, "return_value", left)
        assert run.close() == state


def test_every_task_that_skips_itself_leaves_a_result_so_that_its_run_is_no_failure():
    own = [path for path in Path("plugins").rglob("*.py") if "raise AirflowSkipException" in path.read_text()]
    assert {path.name for path in own} == {"states.py", "wizardplans.py"}, "skip_itself does it"
    pushed: dict[str, object] = {}
    ti = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))
    with pytest.raises(AirflowSkipException, match="nothing is due"):
        skip_itself({"ti": ti}, "nothing is due", kept=True)
    assert pushed == {"return_value": {"skipped": "nothing is due", "kept": True}}


def test_a_restore_that_keeps_a_snapshot_is_noted_with_the_dags_that_end_it(make_run):
    run = make_run("vm_restore")
    (ti,) = run.instances("finish")
    run.forget_result(ti)
    run.leave(ti, "return_value", {"undo": "snapshot-7", "run": "r-1", "vm": {"moref": "vm-16", "name": "app01"}})
    assert run.close() == "success"
    assert all(told in run.run.note for told in ("Undo a restore", "Accept a restore", "moref:vm-16", "restore r-1"))


@pytest.mark.parametrize(("by_hand", "left"), [(True, False), (False, True)])
def test_a_task_that_a_person_ended_leaves_no_cause_for_which_a_window_starts_the_backup_again(make_run, by_hand, left):
    """A process that is killed before its copy has stopped takes nothing back."""
    run = make_run("vm_backup")
    ti = run.instances("verify")[0]
    ti.state = TaskInstanceState.RUNNING
    run.leave(ti, KEY, {"recovery": "retry", "why": "task verify was killed in its last try"})
    if by_hand:
        run.mark("verify", TaskInstanceState.FAILED)
    else:
        ti.state = TaskInstanceState.FAILED
        on_task_instance_failed(previous_state=TaskInstanceState.RUNNING, task_instance=ti)
    found = run.session.scalar(
        select(XComModel).filter_by(dag_id="vm_backup", run_id=ti.run_id, task_id="verify", key=KEY)
    )
    assert (found is not None) is left


@pytest.mark.parametrize(
    ("dag_id", "conf", "note"),
    [
        ("vm_backup", {"vm": "uuid:4211"}, "uuid:4211"),
        ("vm_restore", {"point": "latest:app01", "new_name": "app02"}, "latest:app01 to app02"),
        ("vm_restore", {"point": "latest:app01"}, "latest:app01 to its original VM"),
        ("vm_restore", {"point": "latest:app01", "mapping": "name: x"}, "latest:app01 to the new VM of its mapping"),
        (
            "disk_attach",
            {"point": "latest:app01", "disks": ["scsi0:1"], "vm": "app02"},
            "scsi0:1 of latest:app01 to app02",
        ),
        ("restore_undo", {"vm": "name:app01"}, "name:app01"),
        ("repository_check", {}, None),
    ],
)
def test_a_run_that_begins_is_noted_with_the_vm_it_is_about(make_run, dag_id, conf, note):
    run = make_run(dag_id).run
    run.conf = conf
    run.notify_dagrun_state_changed(msg="started")
    assert run.note == note


def test_a_backup_that_ends_well_is_noted_with_what_was_asked_used_and_reached(make_run):
    run = make_run("vm_backup")
    (ti,) = run.instances("catalog")
    run.forget_result(ti)
    sealed = {
        "consistency": "crash", "mode_asked": "SNAPSHOT_INCL_MEM", "mode_used": "SNAPSHOT_EXCL_MEM",
        "quiesce_asked": "preferred", "quiesce_used": "none",
        "changes": [{"what": "quiesce", "asked": "file-system", "used": "none", "reason": "no-tools", "detail": ""}],
        "disks_copied": 2, "disks_skipped": 0, "bytes_read": 3 << 30, "bytes_stored": 1 << 20,
    }  # fmt: skip
    ids = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "session": run.session}
    XComModel.set("return_value", sealed, **ids)
    run.session.flush()

    assert run.close() == "success"

    assert run.run.note.splitlines() == [
        "mode SNAPSHOT_EXCL_MEM, asked SNAPSHOT_INCL_MEM; quiesce none, asked preferred; reached crash",
        "2 disks: 3.0 GiB read, 1.0 MiB stored",
        "quiesce file-system changed to none (no-tools)",
    ]


def failed_at(run: Run, task_id: str, **left: object) -> None:
    """Let one task fail as a worker ends it, and the last one because of it."""
    ended = now()
    for name in (task_id, TASKS[run.dag.dag_id][-1]):
        ti = run.instances(name)[-1]
        ti.state = "failed"
        ti.end_date = ended = ended + timedelta(seconds=1)
        run.forget_result(ti)
    for key, value in left.items():
        run.leave(run.instances(task_id)[-1], key, value)
    run.session.flush()  # because a worker stores the states of its tasks


@pytest.mark.parametrize(
    ("left", "told"),
    [
        ({KEY: {"recovery": "stop", "why": "no VM has\nthe name app01"}}, "no VM has the name app01"),
        ({REASON: "stopped, because its window closed"}, "stopped, because its window closed"),
        ({KEY: {}}, "it left no reason; its log tells more"),
    ],
)
@pytest.mark.parametrize("dag_id", ["vm_backup", "vm_restore", "disk_attach", "repository_maintenance"])
def test_the_note_of_a_failed_run_names_the_task_that_failed_first_and_its_cause(make_run, dag_id, left, told):
    run = make_run(dag_id)
    run.run.note = "app01"
    task_id = TASKS[dag_id][0]
    failed_at(run, task_id, **left)
    assert run.close() == "failed"
    assert run.run.note.splitlines() == ["app01", f"Failed at task {task_id}: {told}"]
    run.begin()
    for name in (task_id, TASKS[dag_id][-1]):
        for ti in run.instances(name):
            run.work(ti)
    assert run.close() == "success"
    assert "Failed at" not in run.run.note, "a run that was cleared has ended well"


def test_the_note_of_a_failed_run_names_the_disk_and_counts_the_other_failed_tasks(make_run):
    run = make_run("vm_backup")
    failed_at(run, "copy_disk", **{KEY: {"recovery": "stop", "why": "x" * 5000}})
    run.instances("copy_disk")[-1]._rendered_map_index = "Hard disk 2"
    failed_at(run, "verify")
    assert run.close() == "failed"
    assert run.run.note.startswith("Failed at task copy_disk (Hard disk 2): xxx")
    assert run.run.note.endswith("…; 1 other task failed, too")
    assert len(run.run.note) == 600, "the note has room for more"


def test_the_note_of_a_watch_tells_the_first_of_the_problems_for_which_it_fails(make_run):
    run = make_run("missed_windows")
    failed_at(run, "report")
    run.leave(run.instances("find")[0], PROBLEMS, ["policy gold missed its window", "policy tin missed its window"])
    assert run.close() == "failed"
    assert run.run.note == "Failed at task report: policy gold missed its window; 1 more problem"


def test_the_note_of_a_run_that_somebody_stopped_blames_no_task(make_run):
    run = make_run("vm_backup")
    run.run.note = "app01\nstopped by anna through vmkeep"
    failed_at(run, "copy_disk")
    assert run.close() == "failed"
    assert run.run.note == "app01\nstopped by anna through vmkeep"
    run.begin()
    assert run.run.note == "app01", "it may end otherwise now"


@pytest.mark.parametrize("ended_by", ["its tasks", "a mark by hand before any task has begun"])
@pytest.mark.parametrize("dag_id", ["vm_restore", "restore_undo", "repository_maintenance"])
def test_a_run_that_is_cleared_without_being_reset_has_no_first_person_any_more(make_run, dag_id, ended_by):
    """Airflow counts no clear then. Else one person alone could repeat the run of somebody else, and say the yes."""
    from airflow.api_fastapi.core_api.datamodels.dag_run import DagRunMutableStates
    from airflow.api_fastapi.core_api.services.public.dag_run import patch_dag_run_state
    from airflow.models.taskinstance import clear_task_instances

    run = make_run(dag_id)
    run.run.triggering_user_name = "anna"
    instances = run.run.get_task_instances(session=run.session)
    for ti in instances:
        ti.try_number = 0
    run.begin()
    assert require_first(run.run) == "anna", "it has begun once"
    for ti in instances:
        ti.try_number, ti.state = (1, "success") if ended_by == "its tasks" else (0, "skipped")
    run.session.flush()

    clear_task_instances(instances, run.session, False)  # the API's reset_dag_runs
    patch_dag_run_state(dag=run.dag, dag_run=run.run, state=DagRunMutableStates("queued"), session=run.session)
    run.begin()

    with pytest.raises(AirflowFailException, match="this run was cleared"):
        require_first(run.run)


def test_a_note_that_somebody_wrote_is_left_alone(make_run):
    run = make_run("vm_backup").run
    run.note = "before the upgrade"
    run.notify_dagrun_state_changed(msg="started")
    assert run.note == "before the upgrade"


def test_a_dag_of_somebody_else_with_an_operator_of_ours_is_left_to_airflow():
    modules = ("vmkeep_airflow.operators.preflight", "airflow.providers.standard.operators.empty")
    run = SimpleNamespace(dag=SimpleNamespace(tasks=[SimpleNamespace(_task_module=module) for module in modules]))

    on_dag_run_success(run)  # judged, it would be looked for in the database, where it is not


CONSUMER = """
from airflow.sdk import DAG
from airflow.providers.standard.operators.empty import EmptyOperator
from vmkeep_airflow.assets import restore_points_of
with DAG("test_the_restore_of_app01", schedule=[restore_points_of("app01")]):
    EmptyOperator(task_id="t")
"""


def test_a_dag_that_subscribes_to_a_vm_is_started_by_that_vms_points_alone(make_run, tmp_path):
    (tmp_path / "consumer.py").write_text(CONSUMER)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        bag = BundleDagBag(dag_folder=tmp_path, bundle_path=tmp_path, bundle_name="dags-folder")
        sync_bag_to_db(bag, "dags-folder", None)
    run = make_run("vm_backup")
    (last,) = run.instances("close_run")
    for vm, started in (("db01", 0), ("app01", 1)):
        events = [
            {
                "source_alias_name": ANNOUNCED.name, "dest_asset_key": {"name": asset.name, "uri": asset.uri},
                "dest_asset_extra": {}, "extra": {"point": "p/1", "vm": vm},
            }
            for asset in (RESTORE_POINTS, restore_points_of(vm))
        ]  # fmt: skip
        outlets = [AssetProfile(name=ANNOUNCED.name, type="AssetAlias")]
        last.register_asset_changes_in_db(last, outlets, events, session=run.session)
        run.session.flush()
        waiting = run.session.scalars(select(AssetDagRunQueue.target_dag_id)).all()
        assert waiting.count("test_the_restore_of_app01") == started
