"""A day's windows are read from Airflow's runs, and from the policies for those that have no run."""

from __future__ import annotations

import json
import re
import shutil
import warnings
from contextlib import contextmanager
from datetime import timedelta

import pytest

from tests.dags.test_running_page import add_dag, add_task, leave
from tests.dags.test_web_view import as_role, filled
from tests.dags.test_web_view import client as client  # a fixture
from vmkeep.clock import now
from vmkeep.flows.windows import LeftOutVm, PlannedVm, WindowPlan
from vmkeep.model.job import to_plain
from vmkeep.policy import Due, default_folder, read_folder
from vmkeep_airflow.assets import WINDOWS
from vmkeep_airflow.missedwindows import KEY
from vmkeep_airflow.vmruns import run_id_of
from vmkeep_airflow.web import dayswindows
from vmkeep_airflow.windowruns import Ending, Outcome

with warnings.catch_warnings():  # the libraries below deprecate each other
    warnings.simplefilter("default")
    from airflow.models import DagRun
    from airflow.models.asset import AssetModel
    from airflow.models.asset_state_store import AssetStateStoreModel
    from airflow.models.dag import DagModel, DagTag
    from airflow.models.dag_version import DagVersion
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import delete, select

pytestmark = pytest.mark.filterwarnings("default")
__all__ = ["client", "filled"]
POLICY = "nightly"


def vm(number):
    return PlannedVm(moref=f"vm-{number}", name=f"web <{number}>", last_point_at=None)


@pytest.fixture
def yesterday():
    """Put a window of yesterday into Airflow's database: one backup at the second try, one failed, one not started."""
    opens = now().replace(hour=1, minute=0, second=0, microsecond=0) - timedelta(days=1)
    plan = WindowPlan(
        policy=POLICY, stamp="20260101T010000Z", due=Due.OPEN, opens_at=opens, closes_at=opens + timedelta(hours=2),
        next_opens_at=None, vms=(vm(1), vm(2), vm(3)), left_out=(LeftOutVm(moref="vm-9", name="rdm", why="x"),),
    )  # fmt: skip
    outcomes = [
        Outcome(moref="vm-1", name="web", run_id="r", ending=Ending.DONE),
        Outcome(moref="vm-2", name="web", run_id="r", ending=Ending.FAILED, why="the datastore is full"),
        Outcome(moref="vm-3", name="web", run_id="r", ending=Ending.NOT_STARTED),
    ]
    ids = (run_id_of(plan, vm(1)), run_id_of(plan, vm(1), number=1), run_id_of(plan, vm(2)))
    with create_session() as session:
        add_dag(session, f"backup_window_{POLICY}")
        if session.get(DagTag, {"name": "window", "dag_id": f"backup_window_{POLICY}"}) is None:
            session.add(DagTag(name="window", dag_id=f"backup_window_{POLICY}"))
        held = DagRun(dag_id=f"backup_window_{POLICY}", run_id="scheduled__yesterday", run_type="scheduled",
                      run_after=opens, state="failed", start_date=opens)  # fmt: skip
        runs = [held]
        for number, (run_id, state) in enumerate(zip(ids, ("failed", "success", "failed"), strict=True)):
            begun = opens + timedelta(minutes=10 * number)
            run = DagRun(dag_id="vm_backup", run_id=run_id, run_type="manual", run_after=begun, state=state,
                         start_date=begun)  # fmt: skip
            run.end_date = begun + timedelta(hours=2 if state == "success" else 1)
            runs.append(run)
        held.end_date = opens + timedelta(hours=3)
        session.add_all(runs)
        session.flush()
        for task in ("plan", "start_backups"):
            add_task(session, held, task, -1, state="success")
        leave(session, held, "plan", to_plain(plan))
        leave(session, held, "start_backups", {"outcomes": [to_plain(each) for each in outcomes]})
        made = [run.id for run in runs]
    yield opens.date().isoformat()
    with create_session() as session:
        session.query(XComModel).filter(XComModel.dag_run_id.in_(made)).delete()
        for number in made:
            session.delete(session.get(DagRun, number))


def test_a_window_of_yesterday_is_told_with_its_backups(client, yesterday):
    as_role(client, "viewer")
    answer = client.get(f"/vmkeep/api/windows?day={yesterday}")
    assert answer.status_code == 200, answer.text
    (row,) = [each for each in answer.json()["rows"] if each["run_id"] == "scheduled__yesterday"]
    assert (row["policy"], row["label"], row["vms"], row["left_out"]) == (POLICY, "did not fit", 3, 1)
    assert (row["done"], row["failed"], row["not_fit"], row["over"]) == (1, 1, 1, "10 min")
    found = {each["name"]: each for each in row["backups"]}
    assert found["web <1>"]["run_id"].endswith("__again-1"), "the newest run of a VM counts"
    assert found["web <2>"]["why"] == "the datastore is full"
    assert (found["web <3>"]["run_id"], found["web <3>"]["ending"]) == ("", "not started")
    for group, name in (("left-out", "rdm"), ("late", "web <1>")):
        (listed,) = [each for each in client.get(f"/vmkeep/api/windows?{row['links'][group]}").json()["rows"]
                     if each["run_id"] == "scheduled__yesterday"]  # fmt: skip
        assert [each["name"] for each in listed["backups"]] == [name], group
    page = client.get(f"/vmkeep/windows?day={yesterday}").text
    assert "web &lt;1&gt;" in page
    assert "the datastore is full" in page


def test_a_window_is_shown_on_the_day_of_a_backup_that_ended_long_after_it_had_closed(client, yesterday):
    as_role(client, "viewer")

    def shown_today():
        rows = client.get("/vmkeep/api/windows").json()["rows"]
        return [row for row in rows if row["run_id"] == "scheduled__yesterday"]

    assert shown_today() == []
    with create_session() as session:
        late = session.scalar(select(DagRun).where(DagRun.run_id.endswith("__again-1")))
        late.end_date = now().replace(hour=0, minute=0, second=0, microsecond=0)
    (row,) = shown_today()
    assert len(row["backups"]) == 3, "all its backups are told, and not the late one alone"


def test_backups_that_a_window_started_a_month_later_are_its_own_and_nothing_between_is_read(client, yesterday):
    as_role(client, "viewer")
    with create_session() as session:
        held = session.scalar(select(DagRun).where(DagRun.run_id == "scheduled__yesterday"))
        first, held.start_date = held.start_date, held.start_date + timedelta(days=30)
        again = session.scalar(select(DagRun).where(DagRun.run_id.endswith("__again-1")))
        again.run_after = held.start_date + timedelta(minutes=1)
        again.start_date = again.run_after
        elsewhere = DagRun(dag_id="vm_backup", run_id=again.run_id.replace("__again-1", "__again-9"), state="success",
                           run_type="manual", run_after=first + timedelta(days=15))  # fmt: skip
        session.add(elsewhere)
    try:
        rows = client.get(f"/vmkeep/api/windows?day={yesterday}").json()["rows"]
        (row,) = [each for each in rows if each["run_id"] == "scheduled__yesterday"]
        found = {each["name"]: each["run_id"] for each in row["backups"]}
        assert found["web <1>"].endswith("__again-1")
    finally:
        with create_session() as session:
            session.delete(session.merge(elsewhere))


def test_a_window_that_is_to_come_is_read_from_its_policy_and_a_wrong_day_is_told(client, yesterday):
    as_role(client, "viewer")
    tomorrow = (now() + timedelta(days=1)).date().isoformat()
    rows = client.get(f"/vmkeep/api/windows?day={tomorrow}").json()["rows"]
    assert (POLICY, "coming") in {(row["policy"], row["label"]) for row in rows}
    assert client.get("/vmkeep/windows?day=yesterday").status_code == 422
    far = client.get("/vmkeep/api/windows?day=9999-12-31").json()
    assert far["day"] == tomorrow
    assert far["problems"][0].startswith("windows are known up to tomorrow, and not of 9999-12-31"), "told, not guessed"
    assert client.get("/vmkeep/windows?day=0001-01-01").status_code == 200


@pytest.mark.parametrize(("is_paused", "label"), [(True, "coming, switched off"), (False, "coming")])
def test_a_window_to_come_tells_whether_its_dag_is_switched_off(client, yesterday, is_paused, label):
    as_role(client, "viewer")
    tomorrow = (now() + timedelta(days=1)).date().isoformat()
    with create_session() as session:
        dag = session.get(DagModel, f"backup_window_{POLICY}")
        before, dag.is_paused = dag.is_paused, is_paused
    try:
        rows = client.get(f"/vmkeep/api/windows?day={tomorrow}").json()["rows"]
    finally:
        with create_session() as session:
            session.get(DagModel, f"backup_window_{POLICY}").is_paused = before
    assert label in {row["label"] for row in rows if row["policy"] == POLICY}


@pytest.mark.parametrize("is_paused", [True, False])
def test_the_page_of_the_policies_tells_whether_the_dag_of_a_policy_is_switched_off(client, yesterday, is_paused):
    as_role(client, "viewer")
    with create_session() as session:
        dag = session.get(DagModel, f"backup_window_{POLICY}")
        before, dag.is_paused = dag.is_paused, is_paused
    try:
        rows = client.get("/vmkeep/api/policies").json()["rows"]
    finally:
        with create_session() as session:
            session.get(DagModel, f"backup_window_{POLICY}").is_paused = before
    (row,) = (row for row in rows if row["name"] == POLICY)
    assert (f"backup_window_{POLICY}" in row["off"]) is is_paused


def test_a_policy_of_whose_windows_nothing_is_known_is_a_problem_and_no_quiet_day(
    client, yesterday, filled, monkeypatch, tmp_path
):
    as_role(client, "viewer")
    text = (filled[0] / "nightly.yaml").read_text()
    for name in (POLICY, "lost"):
        (tmp_path / f"{name}.yaml").write_text(text.replace(POLICY, name, 1))
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))

    (lost,) = client.get("/vmkeep/api/windows").json()["problems"]
    monkeypatch.setattr("vmkeep_airflow.web.dayswindows.may_with_runs", lambda *asked: False)
    hidden = client.get("/vmkeep/api/windows").json()

    assert lost == "policy lost: Airflow does not have its DAG backup_window_lost: look for import errors"
    assert hidden["rows"] == []
    assert hidden["problems"] == [lost, "1 policy with windows that this user may not see"], "its name is not told"
    assert "Airflow does not have its DAG" in client.get("/vmkeep/windows").text


@contextmanager
def known_for_a_month(dag_id):
    """Let Airflow have known a DAG for a month, whatever other tests have left in its database about it."""
    with create_session() as session:
        session.execute(delete(AssetStateStoreModel).where(AssetStateStoreModel.key == KEY))
        first = DagVersion(dag_id=dag_id, version_number=900, bundle_name="test")
        first.created_at = now() - timedelta(days=30)
        session.add(first)
    try:
        yield
    finally:
        with create_session() as session:
            session.delete(session.merge(first))


def test_a_day_before_airflow_knew_the_dag_alarms_nobody_and_a_day_after_it_does(client, yesterday):
    as_role(client, "viewer")

    def labels(days):
        day = (now() + timedelta(days=days)).date().isoformat()
        rows = client.get(f"/vmkeep/api/windows?day={day}").json()["rows"]
        return {row["label"] for row in rows if row["policy"] == POLICY and not row["run_id"]}

    assert labels(-20) == {"before its DAG"}
    with known_for_a_month(f"backup_window_{POLICY}"):
        assert labels(-20) == {"no run"}


@pytest.mark.parametrize(
    ("is_paused", "has_run", "label"), [(True, 0, "example"), (True, 1, "no run"), (False, 0, "no run")]
)
def test_only_the_example_that_nobody_has_switched_on_is_called_an_example(
    client, filled, monkeypatch, tmp_path, is_paused, has_run, label
):
    shutil.copy(default_folder() / "example.yaml", tmp_path)
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    dag_id = "backup_window_example"
    with create_session() as session:
        add_dag(session, dag_id)
        session.get(DagModel, dag_id).is_paused = is_paused
        session.merge(DagTag(name="window", dag_id=dag_id))
        runs = [DagRun(dag_id=dag_id, run_id="long_ago", run_type="manual", run_after=now() - timedelta(days=90))]
        session.add_all(runs[:has_run])
    try:
        as_role(client, "viewer")
        earlier = (now() - timedelta(days=3)).date().isoformat()
        with known_for_a_month(dag_id):
            rows = client.get(f"/vmkeep/api/windows?day={earlier}").json()["rows"]
        assert {row["label"] for row in rows} == {label}
    finally:
        with create_session() as session:
            for run in runs[:has_run]:
                session.delete(session.merge(run))
            session.delete(session.get(DagTag, {"name": "window", "dag_id": dag_id}))


@pytest.mark.parametrize(
    ("state", "ending", "why"),
    [
        ("running", "running", "it still ran"),
        ("success", "done", ""),
        ("failed", "failed", ""),
        ("", "failed", "its run was deleted from Airflow, so that nobody knows how it ended"),
    ],
)
def test_a_backup_that_outlived_its_window_is_told_by_its_run(state, ending, why):
    told = Outcome(moref="vm-1", name="web", run_id="r", ending=Ending.RUNNING, why="it still ran")
    assert dayswindows._ending_of(told, state, is_over=True) == (ending, why)


@pytest.mark.parametrize(("start", "label"), [("00:30", "before its DAG"), ("00:40", "no run"), (None, "no run")])
def test_a_window_of_times_that_the_policy_did_not_have_then_alarms_nobody(
    client, yesterday, filled, monkeypatch, tmp_path, start, label
):
    """The last look saw the policy with other times, with these since long ago, or did not see it."""
    times = "window: {start: '00:40', end: '03:00', time_zone: UTC}"
    text = re.sub(r"(?m)^window:.*$", times, (filled[0] / "nightly.yaml").read_text())
    (tmp_path / "nightly.yaml").write_text(text)
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    (read,) = read_folder(tmp_path)
    seen = read.policy.window.to_plain()
    memory = {"windows": {POLICY: {**seen, "start": start}}, "since": {POLICY: "2020-01-01T00:00:00+00:00"}}
    with create_session() as session:  # Airflow has known the DAG for longer
        first = DagVersion(dag_id=f"backup_window_{POLICY}", version_number=900, bundle_name="test")
        first.created_at = now() - timedelta(days=30)
        session.add(first)
        asset_id = asset_of_windows(session)
        if start:
            session.merge(AssetStateStoreModel(asset_id=asset_id, key=KEY, value=json.dumps(memory)))
    try:
        as_role(client, "viewer")
        rows = client.get(f"/vmkeep/api/windows?day={yesterday}").json()["rows"]
        assert {row["label"] for row in rows if row["policy"] == POLICY and not row["run_id"]} == {label}
    finally:
        with create_session() as session:
            session.delete(session.merge(first))
            session.execute(delete(AssetStateStoreModel).where(AssetStateStoreModel.asset_id == asset_id))


def asset_of_windows(session):
    """Return the number of the asset at which the look for missed windows leaves its memory."""
    asset = session.scalar(select(AssetModel).where(AssetModel.name == WINDOWS.name))
    if asset is None:
        asset = AssetModel(name=WINDOWS.name, uri=WINDOWS.uri, group=WINDOWS.group)
        session.add(asset)
        session.flush()
    return asset.id


def test_the_memory_of_the_last_look_is_read_as_airflow_keeps_it():
    with create_session() as session:
        asset_id = asset_of_windows(session)
        for text, since in (('{"since": {"nightly": "2026-01-01"}}', {"nightly": "2026-01-01"}), ("{", {}), ("[]", {})):
            session.merge(AssetStateStoreModel(asset_id=asset_id, key=KEY, value=text))
            session.flush()
            assert dayswindows._memory(session).since == since
        session.rollback()
