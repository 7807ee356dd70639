"""A task tells Airflow how far it is, and follows a new rate limit; trouble with either never stops the work."""

from __future__ import annotations

import logging
from threading import Event

import pytest

from tests.patience import HANG
from vmkeep.errors import UnreachableError
from vmkeep.model.job import Progress
from vmkeep_airflow import liveprogress
from vmkeep_airflow.liveprogress import KEY, LiveTask, own_state
from vmkeep_airflow.operators.base import RepositoryOperator


class Store:
    """The part of a task's state in Airflow that is used here."""

    def __init__(self, *, broken: bool = False) -> None:
        self.kept: dict[str, dict] = {}
        self.broken = broken

    def set(self, key, value):
        if self.broken:
            raise OSError("the API server restarts")
        self.kept[key] = value


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(liveprogress, "time", clock)
    monkeypatch.setattr(liveprogress, "_FIRST", 3600.0)
    monkeypatch.setattr(liveprogress, "EVERY", 3600.0)  # each look here is made by hand
    return clock


def event(done, total=1000, phase="copy"):
    return Progress(phase=phase, bytes_done=done, bytes_total=total)


def test_the_rate_is_that_of_the_last_half_minute_and_a_standstill_shows(clock):
    store = Store()
    with LiveTask(store, lambda: None) as live:
        for done in range(0, 600, 10):  # one second each
            live.take("Hard disk 1", event(done), in_bytes=True)
            clock.now += 1
        live.look()
        shown = store.kept[KEY]
        assert (shown["label"], shown["phase"], shown["done"], shown["total"]) == ("Hard disk 1", "copy", 590, 1000)
        assert shown["rate"] == pytest.approx(10, rel=0.05)
        assert shown["idle_seconds"] == pytest.approx(1)

        for _ in range(60):
            live.take("Hard disk 1", event(590), in_bytes=True)  # signs of life, and no byte
            clock.now += 1
        live.look()
        assert store.kept[KEY]["idle_seconds"] == pytest.approx(61)
        assert store.kept[KEY]["rate"] < 1

        live.take("Hard disk 1", event(0, phase="verify"), in_bytes=True)
        assert live.progress(clock.now).rate == 0.0, "another phase counts anew"


def test_a_task_is_told_of_at_once_and_then_at_the_usual_pace(monkeypatch):
    monkeypatch.setattr(liveprogress, "_FIRST", 0.0)
    monkeypatch.setattr(liveprogress, "EVERY", 3600.0)
    told = Event()
    store = Store()
    store.set = lambda _key, _value: told.set()
    with LiveTask(store, lambda: None) as live:
        live.take("Hard disk 1", event(0), in_bytes=True)
        assert told.wait(HANG)
    assert liveprogress.EVERY > liveprogress._FIRST


def test_a_new_limit_is_passed_on_once_and_a_wrong_one_leaves_the_old(clock, caplog):
    limits, passed = ["50MiB"], []

    def to_work(limit):
        if limit == "fast":
            raise UnreachableError("rate limit 'fast': is none")
        passed.append(limit)

    with LiveTask(Store(), lambda: limits[-1]) as live:
        live.pass_limit("50MiB", to_work)
        live.look()
        assert passed == []
        for limit in ("10MiB", "10MiB", "fast", "fast", None):
            limits.append(limit)
            live.look()
    assert passed == ["10MiB", None]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_trouble_with_airflow_stops_no_work_and_is_told_once(clock, caplog):
    store = Store(broken=True)
    with LiveTask(store, lambda: None) as live:
        live.take("disk", event(1), in_bytes=True)
        for _ in range(3):
            live.look()
        assert [record.getMessage() for record in caplog.records] == [
            "the work goes on, but its progress cannot be reported: the API server restarts"
        ]
        store.broken = False
        live.look()
        assert store.kept[KEY]["done"] == 1


def test_where_task_and_supervisor_are_one_process_no_thread_asks_for_anything(monkeypatch):
    from airflow.sdk.execution_time import supervisor, task_runner

    together = supervisor.InProcessSupervisorComms(supervisor=None)
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", together, raising=False)
    assert own_state({"task_state_store": Store()}) is None
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", object())
    assert own_state({"task_state_store": Store()}) is not None


def test_an_operator_reports_what_it_logs_and_its_process_follows_the_connections_limit(monkeypatch, clock):
    changed = []
    monkeypatch.setattr("vmkeep.flows.repositories.change_rate", lambda *given: changed.append(given))
    monkeypatch.setenv("AIRFLOW_CONN_REPO", '{"conn_type": "vmkeep", "host": "/srv/repo"}')
    store = Store()

    class Checks(RepositoryOperator):
        def step(self, context):
            self.site()
            self.lines("web01")(event(5))
            monkeypatch.setenv(
                "AIRFLOW_CONN_REPO", '{"conn_type": "vmkeep", "host": "/srv/repo", "extra": {"limit_rate": "1MiB"}}'
            )
            self.live.look()

    Checks(task_id="check", repository_conn_id="repo").execute({"task_state_store": store})
    assert store.kept[KEY]["label"] == "web01"
    assert changed == [("/srv/repo", "1MiB")]
