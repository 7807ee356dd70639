"""The DAG that checks guests: parts for many tasks, one summary, and a run that is red if somebody has to look."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from vmkeep.images import import_images
from vmkeep.repository import Repository, create_repository
from vmkeep_airflow import guestchecks
from vmkeep_airflow.assets import ANNOUNCED, GUEST_CHECKS
from vmkeep_airflow.operators import tell_guest_checks
from vmkeep_airflow.operators.check_guests import CheckGuestsOperator
from vmkeep_airflow.operators.close_run import CloseRunOperator
from vmkeep_airflow.operators.plan_guest_checks import PlanGuestChecksOperator
from vmkeep_airflow.operators.tell_guest_checks import TellGuestChecksOperator
from vmkeep_airflow.states import PROBLEMS

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Repository:
    monkeypatch.setenv(
        "AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps({"conn_type": "vmkeep", "host": str(tmp_path / "repo")})
    )
    return create_repository(str(tmp_path / "repo"))


class Run:
    """One run of the DAG, as its operators see it."""

    def __init__(self, *announced: str) -> None:
        self.results: dict[str, list[Any]] = {}
        self.states: dict[str, str] = {}
        self.events: list[Any] = []
        self.problems: list[str] | None = None
        self._announced = [SimpleNamespace(extra={"point": ref}) for ref in announced]

    def forget_points(self) -> None:
        """Let the events tell of no point, as those of a foreign program."""
        self._announced = [SimpleNamespace(extra={}) for _ in self._announced]

    def announce(self, ref: str, *, repository: str) -> None:
        """Let an event tell of a point, with its repository."""
        self._announced.append(SimpleNamespace(extra={"point": ref, "repository": repository}))

    def _pull(self, task_ids: Any, key: str | None = None) -> Any:
        if key == PROBLEMS:
            return self.problems
        return [one for task in task_ids for one in self.results.get(task, [])]

    def do(self, operator: Any) -> Any:
        """Execute a task; keep its state and result."""
        ti = SimpleNamespace(
            dag_id="guest_checks", run_id="manual__1", task_id=operator.task_id, try_number=1, max_tries=0,
            xcom_push=lambda key, value: setattr(self, key, value), xcom_pull=self._pull,
            get_task_states=lambda **_: {"manual__1": dict(self.states)},
        )  # fmt: skip
        alias = SimpleNamespace(add=lambda asset, extra: self.events.append((asset.name, extra)))
        context: Any = {"ti": ti, "outlet_events": {ANNOUNCED: alias}}
        if self._announced:
            context["triggering_asset_events"] = {"asset": self._announced}
        name = operator.task_id
        try:
            result = operator.execute(context)
        except AirflowSkipException:
            self.states[name] = "skipped"
            raise
        index = sum(state.startswith(name) for state in self.states)
        self.states[f"{name}_{index}" if name == "check" else name] = "success"
        self.results.setdefault(name, []).append(result)
        return result

    def check_all(self, **fields: Any) -> Any:
        """Carry out the whole run."""
        parts = self.do(PlanGuestChecksOperator(task_id="plan", **fields))
        for part in parts:
            self.do(CheckGuestsOperator(task_id="check", **part))
        self.results["plan"] = [parts]
        self.do(TellGuestChecksOperator(task_id="tell"))
        return self.close()

    def close(self) -> Any:
        """Carry out the last task, which decides."""
        closing = CloseRunOperator(
            task_id="report", result_task_id="tell", may_skip_after=("plan",), problems_of=("tell",)
        )
        closing.get_flat_relative_ids = lambda upstream: {"plan", "check", "tell"}
        return self.do(closing)


def test_a_consistent_fleet_is_reported_in_numbers_and_proved(repository, guest_disks):
    points = [
        import_images(repository, [guest_disks.path("ia"), guest_disks.path("ib")], name=name)
        for name in ("db01", "db02")
    ]

    report = Run().check_all()

    assert (report["vms"], report["disks"], report["inconsistent"], report["names"]) == (2, 4, 0, [])
    assert report["lines"][0].startswith("2 VMs scanned, 4 disks examined")
    assert all(repository.proofs.of(point.ref) for point in points)


def test_an_inconsistent_vm_fails_the_run_and_is_told_by_an_event_and_by_mail(repository, guest_disks, monkeypatch):
    point = import_images(repository, [guest_disks.path("ia"), guest_disks.path("iib")], name="web01")
    mails: list[Any] = []
    monkeypatch.setattr(
        tell_guest_checks, "tell_each", lambda wishes, notice: iter(mails.append(notice) or ["no mail"])
    )
    run = Run()

    with pytest.raises(AirflowFailException, match=r"1 of 1 VM inconsistent \(100.00 %\): web01.*no mail"):
        run.check_all()

    assert run.states["tell"] == "success", "Airflow drops the events of a task that fails"
    assert run.results["tell"][0]["names"] == ["web01"]
    ((asset, extra),) = run.events
    assert (asset, extra["names"]) == (GUEST_CHECKS.name, ["web01"])
    assert mails[0].about == "vmkeep_default"
    assert repository.marks.suspicion_of(point.ref) is None, "only a run that is told to marks"


def test_a_run_that_is_told_to_marks_what_contradicts_itself(repository, guest_disks):
    point = import_images(repository, [guest_disks.path("ia"), guest_disks.path("iib")], name="web01")

    with pytest.raises(AirflowFailException):
        Run().check_all(mark=True)

    assert repository.marks.suspicion_of(point.ref) is not None


def test_events_start_a_check_of_their_points_alone(repository, guest_disks):
    new = import_images(repository, [guest_disks.path("vi")], name="web01")
    import_images(repository, [guest_disks.path("ia"), guest_disks.path("iib")], name="other")

    report = Run(new.ref, "elsewhere/20200101T000000Z-1").check_all()

    assert (report["vms"], report["inconsistent"]) == (1, 0)
    nothing = Run("elsewhere/20200101T000000Z-1")
    with pytest.raises(AirflowSkipException):
        nothing.do(PlanGuestChecksOperator(task_id="plan"))
    nothing.states["check"] = "skipped"  # as Airflow leaves a task that was not expanded
    assert nothing.do(TellGuestChecksOperator(task_id="tell")) == {"skipped": True}
    assert nothing.close() == {"skipped": True}


def test_an_event_that_tells_of_no_point_starts_no_check_of_all_vms(repository, guest_disks):
    import_images(repository, [guest_disks.path("vi")], name="web01")
    run = Run("")
    run.forget_points()

    with pytest.raises(AirflowSkipException):
        run.do(PlanGuestChecksOperator(task_id="plan"))


def test_points_are_checked_in_the_repository_that_their_event_names(repository, guest_disks, tmp_path, monkeypatch):
    fields = {"conn_type": "vmkeep", "host": str(tmp_path / "other")}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(fields))
    other = create_repository(str(tmp_path / "other"))
    here = import_images(repository, [guest_disks.path("vi")], name="web01")
    there = import_images(other, [guest_disks.path("ia"), guest_disks.path("iib")], name="db01")
    run = Run()
    run.announce(here.ref, repository="")
    run.announce(there.ref, repository="other")

    with pytest.raises(AirflowFailException, match="1 of 2 VMs inconsistent"):
        run.check_all()

    assert other.proofs.of(there.ref)


def test_the_runs_that_backups_start_mark_only_if_a_setting_says_so(monkeypatch):
    monkeypatch.delenv("AIRFLOW__VMKEEP__MARK_TORN_GUESTS", raising=False)
    assert not guestchecks.marks_by_itself()
    monkeypatch.setenv("AIRFLOW__VMKEEP__MARK_TORN_GUESTS", "")
    assert not guestchecks.marks_by_itself()

    monkeypatch.setenv("AIRFLOW__VMKEEP__MARK_TORN_GUESTS", "True")
    assert guestchecks.marks_by_itself()


def test_a_part_that_left_no_result_fails_the_run(repository, guest_disks):
    import_images(repository, [guest_disks.path("vi")], name="web01")
    run = Run()
    run.do(PlanGuestChecksOperator(task_id="plan"))
    run.states["check_0"] = "failed"
    run.do(TellGuestChecksOperator(task_id="tell"))

    with pytest.raises(AirflowFailException, match="check_0 failed"):
        run.close()
