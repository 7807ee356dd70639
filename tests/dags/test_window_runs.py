"""The backups of a window: who comes first, how many at a time, and what is said when it is over."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException, AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse

from vmkeep.clock import now
from vmkeep.errors import CancelledError, LimitReachedError, TransientError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.windows import ElsewhereVm, LeftOutVm, PlannedVm, WindowPlan, compared_with
from vmkeep.model.guest import commands_from
from vmkeep.model.job import from_plain, to_plain
from vmkeep.policy import AtEnd, Due, read_file
from vmkeep_airflow.causes import REASON
from vmkeep_airflow.dagruns import DagRunId, start_dag_run
from vmkeep_airflow.operators.ending import EndingOperator
from vmkeep_airflow.operators.plan_window import PlanWindowOperator, opens
from vmkeep_airflow.operators.start_backups import StartBackupsOperator
from vmkeep_airflow.vmruns import conf_of, run_id_of
from vmkeep_airflow.windowreports import note_of, problems_of, report_of
from vmkeep_airflow.windowruns import Ending, Failure, Outcome, WindowRuns, give_up_at

OPENS = datetime(2026, 6, 8, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAGS = Path(__file__).resolve().parents[2] / "dags"


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policies") / "nightly.yaml"
    path.write_text(
        "name: nightly\nselection: name:web*\nquiesce: off\nlimits: {backups_at_once: 3}\n"
        "guest: {connection: linux, post_thaw: thaw, freeze_failure: warn}\nverification: {audit: 0.5}\n"
        "disks:\n  include: [{unit: scsi0:0}]\n  skipped_is_failure: true\n"
        "  exclude: [{datastore: scratch-*, larger_than: 2 TiB}]\n  read_luns: [{label: '*'}]\n"
        "window: {start: 22:00, end: 06:00, time_zone: UTC}\n"
    )
    return read_file(path).policy


def planned(number: int, **changes) -> WindowPlan:
    vms = tuple(PlannedVm(moref=f"vm-{each}", name=f"web{each:02}", last_point_at=None) for each in range(number))
    plan = WindowPlan(
        policy="nightly",
        stamp="20260608T220000Z",
        due=Due.OPEN,
        opens_at=OPENS,
        closes_at=OPENS + 8 * HOUR,
        next_opens_at=OPENS + 24 * HOUR,
        vms=vms,
    )
    return replace(plan, **changes)


class Airflow:
    """Runs that last an hour each, by a clock that somebody turns."""

    def __init__(self) -> None:
        self.now = OPENS
        self.started: dict[str, datetime] = {}
        self.confs: list[dict[str, object]] = []
        self.fails: set[str] = set()
        self.refuses: set[str] = set()
        self.gone: set[str] = set()
        """Proxies that have left the list."""
        self.heals: set[str] = set()
        self.lied: set[str] = set()
        self.most = 0

    def start(self, run_id, conf, note):
        if any(name in run_id for name in self.refuses) or conf.get("proxy") in self.gone:
            return "Airflow does not like it"
        if run_id not in self.started:
            self.started[run_id] = self.now
            self.confs.append(conf)
        self.most = max(self.most, sum(self.state(run) == "running" for run in self.started))
        return None

    def state(self, run_id):
        if run_id not in self.started:
            return None
        if self.now < self.started[run_id] + HOUR:
            return "running"
        return "failed" if any(name in f"{run_id}$" for name in self.fails) else "success"

    def failure(self, run_id):
        if "unknown" in self.heals:
            return None
        return Failure(why=f"{run_id[27:]} had no luck", heals=any(name in run_id for name in self.heals))

    def lies(self, run_id):
        return 7 if any(name in run_id for name in self.lied) else 0

    @property
    def order(self):
        return [run.removeprefix("nightly__20260608T220000Z__") for run in self.started]


def finish(window: WindowRuns, airflow: Airflow) -> dict[str, Ending]:
    while not window.step(airflow.now):
        airflow.now += HOUR / 4
    return {outcome.name: outcome.ending for outcome in window.outcomes()}


def window_of(policy, plan, airflow, **options) -> WindowRuns:
    return WindowRuns(policy, plan, airflow, log=lambda line: None, **options)


def test_a_look_asks_for_the_running_backups_alone_however_many_wait_or_have_ended(policy):
    """Each question is a request to Airflow's API server, and the window looks every few seconds for hours."""
    airflow, asked = Airflow(), []
    runs = SimpleNamespace(
        start=airflow.start,
        state=lambda run_id: asked.append(run_id) or airflow.state(run_id),
        failure=airflow.failure,
        lies=airflow.lies,
    )
    window = window_of(policy, planned(60, closes_at=OPENS + 100 * HOUR), runs)
    over = False
    while not over:
        asked.clear()
        over = window.step(airflow.now)
        assert len(asked) <= policy.backups_at_once
        airflow.now += HOUR / 4
    assert len(airflow.started) == 60


def test_as_many_backups_run_at_the_same_time_as_the_policy_allows_and_all_are_done(policy):
    airflow = Airflow()
    endings = finish(window_of(policy, planned(10), airflow), airflow)
    assert (set(endings.values()), len(endings), airflow.most) == ({Ending.DONE}, 10, 3)


def test_a_vm_is_sent_to_the_least_busy_of_the_proxies_that_reach_it_best(policy):
    airflow = Airflow()
    plan = planned(6)
    near = [("san-a",), ("san-a", "san-b"), ("san-a", "san-b"), (), ("far", "backup_proxy"), ("far", "backup_proxy")]
    vms = tuple(replace(vm, proxies=proxies) for vm, proxies in zip(plan.vms, near, strict=True))

    finish(window_of(replace(policy, backups_at_once=6), replace(plan, vms=vms), airflow), airflow)

    sent = [conf.get("proxy") for conf in airflow.confs]
    assert sent == ["san-a", "san-b", "san-a", None, "far", "backup_proxy"]


def test_a_vm_whose_proxy_has_left_the_list_meanwhile_is_sent_to_another_or_to_any(policy):
    airflow = Airflow()
    airflow.gone = {"san-a"}
    plan = planned(2)
    vms = tuple(replace(vm, proxies=near) for vm, near in zip(plan.vms, [("san-a",), ("san-a", "san-b")], strict=True))
    window = window_of(policy, replace(plan, vms=vms), airflow)

    finish(window, airflow)

    assert [conf.get("proxy") for conf in airflow.confs] == [None, "san-b"]
    assert {outcome.ending for outcome in window.outcomes()} == {Ending.DONE}


def test_the_vm_that_comes_first_in_the_plan_is_started_first(policy):
    airflow = Airflow()
    finish(window_of(policy, planned(5), airflow), airflow)
    assert [conf["vm"] for conf in airflow.confs] == [f"moref:vm-{number}" for number in range(5)]


def test_none_starts_once_the_window_has_closed_and_those_that_run_then_finish(policy):
    airflow = Airflow()
    endings = finish(window_of(policy, planned(9, closes_at=OPENS + 1.5 * HOUR), airflow), airflow)
    assert list(endings.values()) == [Ending.DONE] * 6 + [Ending.NOT_STARTED] * 3


def test_a_backup_that_fails_or_cannot_be_started_harms_no_other(policy):
    airflow = Airflow()
    airflow.fails, airflow.refuses = {"web01"}, {"web03"}
    endings = finish(window_of(policy, planned(5), airflow), airflow)
    assert [name for name, ending in endings.items() if ending is Ending.FAILED] == ["web01", "web03"]
    assert list(endings.values()).count(Ending.DONE) == 3


def test_a_task_that_is_tried_again_starts_no_vm_twice_and_forgets_none(policy):
    airflow, plan = Airflow(), planned(8, closes_at=OPENS + 1.5 * HOUR)
    window = window_of(policy, plan, airflow)
    window.step(airflow.now)
    airflow.now += 2 * HOUR  # the worker died, and comes back when the window has closed
    again = window_of(policy, plan, airflow)
    again.recover()
    endings = finish(again, airflow)
    assert list(endings.values()) == [Ending.DONE] * 3 + [Ending.NOT_STARTED] * 5
    assert len(airflow.confs) == 3


def test_a_window_that_is_cleared_starts_the_backups_that_failed_again_and_no_other(policy):
    airflow, plan = Airflow(), planned(4)
    airflow.fails = {"web01__vm-1$", "web02"}
    finish(window_of(policy, plan, airflow), airflow)
    for clears in (1, 2):
        again = window_of(policy, plan, airflow, clears=clears)
        again.recover()
        endings = finish(again, airflow)
    assert [name for name, ending in endings.items() if ending is Ending.FAILED] == ["web02"]
    assert airflow.order[4:] == ["web01__vm-1__again-2", "web02__vm-2__again-2", "web02__vm-2__again-4"]


def test_a_retry_after_a_clear_starts_nothing_once_more(policy):
    airflow, plan = Airflow(), planned(2)
    airflow.fails = {"web"}
    finish(window_of(policy, plan, airflow), airflow)
    for _ in range(2):
        again = window_of(policy, plan, airflow, clears=3)
        again.recover()
        finish(again, airflow)
    assert len(airflow.started) == 4


def test_a_backup_that_a_fresh_start_can_heal_is_started_once_more_after_the_others_and_the_report_says_so(policy):
    airflow, plan = Airflow(), planned(5)
    airflow.fails, airflow.heals = {"web01__vm-1$", "web02", "web03"}, {"web01", "web02"}
    window = window_of(policy, plan, airflow)
    endings = finish(window, airflow)
    assert [name for name, ending in endings.items() if ending is Ending.FAILED] == ["web02", "web03"]
    assert airflow.order[5:] == ["web01__vm-1__again-1", "web02__vm-2__again-1"]
    assert airflow.most == 3
    report = report_of(plan, window.outcomes(), at=OPENS)
    assert report["started again"] == [
        "web01: 1 time, done; last failure: web01__vm-1 had no luck",
        "web02: 1 time, failed; last failure: web02__vm-2__again-1 had no luck",
    ]
    assert note_of(report)[0] == "3 done; 2 failed; 2 started again"
    assert "web03__vm-3 had no luck" in {outcome.why for outcome in window.outcomes()}
    assert list(problems_of(plan, report)) == ["2 VMs failed: web02, web03"]


def test_a_lie_of_change_tracking_is_a_problem_of_the_window_although_the_backup_is_good(policy):
    airflow, plan = Airflow(), planned(3)
    airflow.lied = {"web01"}
    window = window_of(policy, plan, airflow)
    finish(window, airflow)
    report = report_of(plan, window.outcomes(), at=OPENS)
    told = "web01: 7 blocks, see the note of run nightly__20260608T220000Z__web01__vm-1"
    assert note_of(report)[0] == "3 done; 1 change tracking lied"
    assert list(problems_of(plan, report)) == [f"1 VM where change tracking lied: {told}"]


def test_a_backup_that_somebody_ended_or_that_fails_after_the_window_has_closed_is_not_started_again(policy):
    for heals, closes_at in (({"unknown"}, OPENS + 8 * HOUR), ({"web"}, OPENS + HOUR / 2)):
        airflow = Airflow()
        airflow.fails, airflow.heals = {"web"}, heals
        assert finish(window_of(policy, planned(1, closes_at=closes_at), airflow), airflow) == {"web00": "failed"}
        assert len(airflow.started) == 1


def test_a_backup_for_whose_fresh_start_the_window_has_no_time_has_failed(policy):
    airflow = Airflow()
    airflow.fails, airflow.heals = {"web00"}, {"web00"}
    window = window_of(policy, planned(9, closes_at=OPENS + 1.5 * HOUR), airflow)
    assert finish(window, airflow)["web00"] is Ending.FAILED
    first = window.outcomes()[0]
    assert (first.run_id, first.again) == ("nightly__20260608T220000Z__web00__vm-0", 0)
    assert first.why.endswith("closed before it could be started again")


def test_a_task_that_is_tried_again_starts_a_backup_once_more_and_never_twice(policy):
    airflow, plan = Airflow(), planned(1)
    airflow.fails, airflow.heals = {"web"}, {"web"}
    for _ in range(5):  # each try of the task dies an hour later
        window = window_of(policy, plan, airflow)
        window.recover()
        window.step(airflow.now)
        airflow.now += HOUR
    assert airflow.order == ["web00__vm-0", "web00__vm-0__again-1"]
    assert [outcome.ending for outcome in window.outcomes()] == [Ending.FAILED]


def test_where_the_policy_stops_backups_each_run_knows_its_end_and_is_told_apart_from_a_failure(policy):
    stops, airflow = replace(policy, at_end=AtEnd.STOP), Airflow()
    airflow.fails = {"web01", "web03"}
    endings = finish(window_of(stops, planned(4, closes_at=OPENS + 1.5 * HOUR), airflow), airflow)
    assert endings == {"web00": "done", "web01": "failed", "web02": "done", "web03": "stopped"}
    assert {conf["stop_at"] for conf in airflow.confs} == {(OPENS + 1.5 * HOUR).isoformat()}
    assert "stop_at" not in conf_of(policy, planned(1), planned(1).vms[0])
    report = report_of(planned(4), [], at=OPENS)
    assert "1 VM stopped: web03" in list(problems_of(planned(4), {**report, "stopped": ["web03"]}))


def test_a_vm_whose_last_good_point_is_too_old_is_an_alarm_until_it_has_a_new_one(policy):
    ages = {"fresh": OPENS - 30 * HOUR, "old": OPENS - 40 * HOUR, "never": None, "done": OPENS - 90 * HOUR}
    vms = tuple(PlannedVm(moref=name, name=name, last_point_at=last) for name, last in ages.items())
    plan = planned(0, vms=vms, max_age_seconds=36 * 3600)
    done = [Outcome(moref="done", name="done", run_id="r", ending=Ending.DONE)]
    report = report_of(plan, done, at=OPENS)
    assert report["overdue"] == ["old: last good point 2026-06-07 06:00 UTC", "never: no good point"]
    assert "2 VMs overdue: old: last good point 2026-06-07 06:00 UTC, never: no good point" in problems_of(plan, report)
    for changed in ({"max_age_seconds": None}, {"due": Due.SUPERSEDED}):
        assert report_of(replace(plan, **changed), done, at=OPENS)["overdue"] == []


class Step(EndingOperator):
    """Works until it is cancelled."""

    def step(self, context):
        stopped = Event()
        with self.stopped_in_time(stopped.set):
            stopped.wait()
            raise CancelledError("stopped")


def test_a_step_that_runs_when_its_end_comes_is_cancelled_and_one_that_comes_late_does_nothing():
    for end in (now() + timedelta(seconds=0.2), now() - HOUR):
        with pytest.raises(AirflowFailException, match="when its policy's window closed: nothing is sealed"):
            Step(task_id="step", stop_at=end.isoformat()).execute({})


@pytest.mark.parametrize("late", [timedelta(seconds=-0.2), HOUR], ids=["while it works", "before it begins"])
def test_a_step_that_its_end_has_stopped_leaves_the_reason_for_the_note_of_its_run(late):
    left: dict[str, object] = {}
    ti = SimpleNamespace(
        dag_id="vm_backup",
        task_id="step",
        try_number=1,
        max_tries=3,
        xcom_push=lambda key, value: left.update({key: value}),
    )
    with pytest.raises(AirflowFailException):
        Step(task_id="step", stop_at=(now() - late).isoformat()).execute({"ti": ti})
    assert str(left[REASON]).startswith("stopped, because the run was to end at ")


class WaitingStep(EndingOperator):
    """Finds no room within a limit."""

    def step(self, context):
        raise LimitReachedError("waits for NFC sessions", again_after=300)


def test_a_step_that_waits_for_room_comes_again_when_the_run_has_to_end_and_ends_then():
    end = now() + timedelta(seconds=100)
    with pytest.raises(AirflowRescheduleException) as caught:
        WaitingStep(task_id="step", stop_at=end.isoformat()).execute({})
    assert caught.value.reschedule_date == end
    with pytest.raises(AirflowRescheduleException) as caught:
        WaitingStep(task_id="step", stop_at=(end + HOUR).isoformat()).execute({})
    assert caught.value.reschedule_date > end + timedelta(seconds=100)


def test_backups_that_are_caught_up_are_spread_over_the_whole_time(policy):
    airflow = Airflow()
    finish(window_of(policy, planned(4, due=Due.CAUGHT_UP), airflow), airflow)
    assert [(begun - OPENS) / HOUR for begun in airflow.started.values()] == [0, 2, 4, 6]


def test_backups_that_still_run_when_the_next_window_opens_are_told_apart(policy):
    airflow = Airflow()
    window = window_of(policy, planned(2), airflow)
    assert not window.step(airflow.now)
    assert {outcome.ending for outcome in window.outcomes()} == {Ending.RUNNING}


def test_a_window_waits_for_a_day_or_until_the_next_one_opens_and_never_longer():
    assert give_up_at(planned(1)) == OPENS + 24 * HOUR
    assert give_up_at(planned(1, next_opens_at=OPENS + timedelta(days=7))) == OPENS + 32 * HOUR
    assert give_up_at(planned(1, next_opens_at=None)) == OPENS + 32 * HOUR


def test_a_window_without_vms_is_over_at_once(policy):
    assert window_of(policy, planned(0), Airflow()).step(OPENS)


@pytest.mark.parametrize("name", ["web 01", "a/b", "ü", "{{ x }}", "x" * 300, "../..", "a?b#c", ""])
def test_a_runs_id_is_plain_whatever_a_vm_is_called_and_names_one_vm(name):
    plan = planned(0)
    vm = PlannedVm(moref="vm-1", name=name, last_point_at=None)
    other = replace(vm, moref="vm-11")
    assert re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,200}", run_id_of(plan, vm))
    assert run_id_of(plan, vm) != run_id_of(plan, other)


def test_vm_backup_takes_the_fields_that_a_policy_gives_it(policy):
    params = DagBag(str(DAGS / "vm_backup.py")).dags["vm_backup"].params
    conf = conf_of(policy, planned(1), PlannedVm(moref="vm-1", name="web01", last_point_at=None))
    assert set(conf) <= set(params)
    assert conf["quiesce"] == "off"
    assert (conf["include"], conf["exclude"]) == (["unit:scsi0:0"], [f">{2 << 40} & datastore:scratch-*"])
    assert conf["skipped_is_failure"]
    assert conf["read_luns"] == ["label:*"]
    commands = {"freeze": conf["pre_freeze"], "thaw": conf["post_thaw"], "login": conf["guest"]}
    assert commands_from(**commands, seconds=conf["guest_seconds"], failure=conf["freeze_failure"]) == policy.guest
    assert conf["audit"] == policy.audit == 0.5
    BackupRequest(vm_selector="a", run="r", include=tuple(conf["include"]), exclude=tuple(conf["exclude"]))
    params.update(conf)
    params.validate()


class TaskInstance:
    """The answers that Airflow gives to a task."""

    dag_id = "backup_window_nightly"
    try_number = 1

    def __init__(self, *, is_paused: bool = False) -> None:
        self.is_paused = is_paused

    def get_dag(self, dag_id):
        assert dag_id == "vm_backup"
        return self

    def xcom_push(self, key, value):
        self.left = {key: value}


def start_backups(policy, plan, ti):
    context = {"ti": ti, "dag_run": SimpleNamespace(clear_number=0)}
    return StartBackupsOperator(task_id="start", policy=policy, plan=to_plain(plan)).execute(context)


def test_nothing_is_started_while_vm_backup_is_paused_because_no_run_would_begin(policy):
    with pytest.raises(AirflowFailException, match="vm_backup is paused"):
        start_backups(policy, planned(1), TaskInstance(is_paused=True))


def test_a_window_that_is_missed_or_superseded_starts_nothing(policy):
    for due in (Due.MISSED, Due.SUPERSEDED):
        assert start_backups(policy, planned(1, due=due), TaskInstance(is_paused=True)) == {"outcomes": []}


def test_an_outage_of_airflows_api_is_a_retry_and_a_refusal_is_the_vms_own(monkeypatch):
    """Airflow's supervisor answers a task by errors that carry the status of the API."""

    class Supervisor:
        status = 503

        def send(self, message):
            detail = {"status_code": self.status, "message": "no"}
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail=detail))

    monkeypatch.setattr("airflow.sdk.execution_time.task_runner.SUPERVISOR_COMMS", Supervisor(), raising=False)
    run = DagRunId(dag_id="vm_backup", run_id="x")
    with pytest.raises(TransientError, match="vm_backup x"):
        start_dag_run(run, conf={}, note="")
    monkeypatch.setattr(Supervisor, "status", 400)
    assert "no" in (start_dag_run(run, conf={}, note="") or "")


class Dags:
    """Airflow's answers to a task about other DAGs: by their ids, whether they are paused."""

    def __init__(self, paused):
        self._paused = paused

    def get_dag(self, dag_id):
        if dag_id in self._paused:
            return SimpleNamespace(is_paused=self._paused[dag_id])
        status = 404 if "gone" in dag_id else 503
        raise AirflowRuntimeError(ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": status}))


def test_a_policy_whose_dag_is_switched_off_or_gone_opens_no_window_and_an_airflow_that_is_silent_is_asked_again():
    dags = Dags({"backup_window_on": False, "backup_window_off": True})
    assert [opens(dags, name) for name in ("on", "off", "gone")] == [True, False, False]
    with pytest.raises(TransientError, match="windows of other open"):
        opens(dags, "other")


def test_a_plan_survives_the_way_to_the_next_task():
    plan = planned(2)
    assert from_plain(WindowPlan, to_plain(plan)) == plan


class Windows:
    """Answers for the runs of a window, as Airflow 3.3 does: each run's result by its id, all of them without one."""

    def __init__(self, plans):
        self._plans = plans

    def get_previous_ti(self, *, state, logical_date):
        assert state == "success"
        before = [date for date in self._plans if date < logical_date]
        return SimpleNamespace(run_id=max(before)) if before else None

    def xcom_pull(self, *, task_ids, run_id=None):
        return to_plain(self._plans[run_id]) if run_id else [to_plain(plan) for plan in self._plans.values()]


@pytest.mark.parametrize("windows", [0, 1, 3])
def test_a_plan_is_compared_with_that_of_the_window_before_however_many_there_were(policy, windows):
    operator = PlanWindowOperator(task_id="plan", policy=policy)
    plans = {OPENS + number * 24 * HOUR: planned(number + 1) for number in range(windows)}
    earlier = operator._earlier(Windows(plans), OPENS + windows * 24 * HOUR)
    assert earlier == (planned(windows) if windows else None)


def test_a_plan_tells_which_vms_are_new_and_which_have_vanished():
    earlier, plan = planned(3), planned(4)
    plan = replace(plan, vms=(replace(plan.vms[0], name="renamed"), *plan.vms[2:]))
    compared = compared_with(plan, earlier)
    assert (compared.newly_found, compared.vanished) == (("web03",), ("web01",))
    assert compared_with(plan, None) == plan
    assert compared_with(plan, replace(earlier, due=Due.SUPERSEDED, vms=())) == plan


def test_a_report_names_every_vm_that_has_no_new_point(policy):
    airflow = Airflow()
    airflow.fails = {"web01"}
    plan = planned(9, closes_at=OPENS + 1.5 * HOUR, unprotected=("lonely",))
    window = window_of(policy, plan, airflow)
    finish(window, airflow)
    report = report_of(plan, window.outcomes(), at=OPENS)
    assert (len(report["done"]), report["failed"], len(report["not started"])) == (5, ["web01"], 3)
    assert report["unprotected"] == ["lonely"]
    assert list(problems_of(plan, report)) == ["1 VM failed: web01", "3 VMs not started: web06, web07, web08"]


def test_two_vms_of_one_name_are_told_apart_wherever_a_report_names_them():
    twins = ("a", "b", "c")
    plan = replace(
        planned(0),
        vms=tuple(PlannedVm(moref=moref, name="twin", last_point_at=None) for moref in twins),
        left_out=(LeftOutVm(moref="d", name="twin", why="it is a secondary"),),
        elsewhere=(
            ElsewhereVm(moref="e", name="twin", policy="gold"),
            ElsewhereVm(moref="f", name="one", policy="gold"),
        ),
        max_age_seconds=1.0,
    )
    outcomes = [Outcome(moref=moref, name="twin", run_id=moref, ending="failed") for moref in twins]

    report = report_of(plan, outcomes, at=OPENS)

    assert report["failed"] == ["twin (a)", "twin (b)", "twin (c)"]
    assert [each.partition(":")[0] for each in report["overdue"]] == report["failed"]
    assert report["left out"] == ["twin (d): it is a secondary"]
    assert report["left to other policies"] == ["twin (e): gold", "one: gold"]
    assert compared_with(plan, planned(0)).newly_found[:2] == ("twin (a)", "twin (b)")


def test_the_note_of_a_window_tells_the_numbers_and_the_vms_without_a_new_point(policy):
    airflow = Airflow()
    airflow.fails = {"web01"}
    plan = planned(9, closes_at=OPENS + 1.5 * HOUR, unprotected=("lonely",))
    window = window_of(policy, plan, airflow)
    finish(window, airflow)

    assert note_of(report_of(plan, window.outcomes(), at=OPENS)) == [
        "5 done; 1 failed; 3 not started; 1 unprotected",
        "1 VM failed: web01",
        "3 VMs not started: web06, web07, web08",
    ]
    missed = planned(2, due=Due.MISSED)
    assert note_of(report_of(missed, [], at=OPENS))[0] == "missed: 0 done; 2 not started"
    assert note_of({}) == []


def test_a_missed_window_a_policy_without_vms_and_a_superseded_window_are_told_apart():
    missed, empty, superseded = planned(2, due=Due.MISSED), planned(0), planned(0, due=Due.SUPERSEDED)
    assert "it was missed" in " ".join(problems_of(missed, report_of(missed, [], at=OPENS)))
    assert "2 VMs not started" in " ".join(problems_of(missed, report_of(missed, [], at=OPENS)))
    assert "takes no VM" in " ".join(problems_of(empty, report_of(empty, [], at=OPENS)))
    assert list(problems_of(superseded, report_of(superseded, [], at=OPENS))) == []
