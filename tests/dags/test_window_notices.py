"""A window tells people how it ended: by mail through a real mail server, and by an event of an asset."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections import defaultdict
from email import message_from_string
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from tests.dags.test_window_runs import planned
from vmkeep.model.job import to_plain
from vmkeep.policy import NotifyWhen, read_file, read_folder
from vmkeep_airflow.assets import ANNOUNCED, WINDOW_ENDS, WINDOWS, window_ends_of
from vmkeep_airflow.operators.find_overdue import FindOverdueOperator, watched
from vmkeep_airflow.operators.notify_window import NotifyWindowOperator
from vmkeep_airflow.operators.report_window import ReportWindowOperator
from vmkeep_airflow.states import PROBLEMS
from vmkeep_airflow.windowreports import copies_of
from vmkeep_airflow.windowruns import Ending, Outcome

STARTED = {"outcomes": to_plain((Outcome(moref="vm-0", name="web00", run_id="r", ending=Ending.DONE),))}
FAILED = {"outcomes": to_plain((Outcome(moref="vm-0", name="<b>{{ web }}", run_id="r", ending=Ending.FAILED),))}


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail by SMTP, and refuses some addresses."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Conversation)
        self.refused: set[str] = set()
        self.mails: list[tuple[str, str]] = []


class Conversation(socketserver.StreamRequestHandler):
    """One connection of a client."""

    server: MailServer

    def handle(self) -> None:
        self.answer("220 here")
        to = ""
        while line := self.rfile.readline().decode().strip():
            if line.lower().startswith("rcpt"):
                to = line.partition("<")[2].partition(">")[0]
                self.answer("550 nobody of that name" if to in self.server.refused else "250 ok")
            elif line.lower() == "data":
                self.answer("354 go on")
                lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                self.server.mails.append((to, "".join(lines)))
                self.answer("250 ok")
            else:
                self.answer("250 ok")

    def answer(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def server(monkeypatch):
    with MailServer() as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        extra = {"from_email": "vmkeep@example.com", "disable_ssl": True, "disable_tls": True, "retry_limit": 0}
        fields = {"conn_type": "smtp", "host": "127.0.0.1", "port": running.server_address[1], "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(fields))
        yield running
        running.shutdown()


@pytest.fixture
def policy_with(tmp_path):
    def make(when: str, *to: str):
        path = tmp_path / "nightly.yaml"
        path.write_text(
            "name: nightly\nselection: name:web*\nwindow: {start: 22:00, end: 06:00, time_zone: UTC}\n"
            f"notifications: {{when: {when}, to: [{', '.join(to)}]}}\n"
        )
        return read_file(path).policy

    return make


class TaskInstance:
    """The results of earlier tasks, as Airflow gives them to a task."""

    dag_id, run_id, task_id = "backup_window_nightly", "scheduled__1", "notify"

    def __init__(self, results: dict[str, Any], states: dict[str, str] | None = None) -> None:
        self.results = results
        self.mapped: dict[str, list[Any]] = {}
        self.left: dict[str, Any] = {}
        self.states = states or dict.fromkeys(results, "success")

    def get_task_states(self, dag_id, run_ids):
        return {self.run_id: self.states}

    def xcom_pull(self, task_ids):
        if self.mapped.keys() & set(task_ids):
            return self.mapped[task_ids[0]]
        return [self.results.get(task) for task in task_ids]

    def xcom_push(self, key, value):
        self.left[key] = value

    def get_dag(self, dag_id):
        return SimpleNamespace(is_paused=False)


class Events(list):
    """The events that a task emits."""

    def add(self, asset, extra):
        self.append((asset, extra))


def notify(policy, started, states=None, tries=1) -> tuple[dict[str, Any], list[Any]]:
    plan, events = to_plain(planned(1)), defaultdict(Events)
    task = NotifyWindowOperator(
        task_id="notify", policy=policy.name, wish=policy.notifications, plan=plan, started=started
    )
    ti = TaskInstance({"plan": plan, "start_backups": started}, states)
    ti.try_number, ti.max_tries = tries, 3
    result = task.execute({"ti": ti, "outlet_events": events})
    ends, told = events[ANNOUNCED][:2], events[ANNOUNCED][2:]
    assert [asset for asset, _ in ends] == [WINDOW_ENDS, window_ends_of(policy.name)], "whether people are told or not"
    assert [extra["policy"] for _, extra in ends] == [policy.name] * 2
    return result, told


def test_one_mail_tells_each_address_of_the_whole_window(server, policy_with):
    told, _ = notify(policy_with("problems", "a@example.com", "b@example.com"), FAILED)
    assert told == {"told": True, "mail": ["a@example.com", "b@example.com"], "untold": []}
    assert [to for to, _ in server.mails] == ["a@example.com", "b@example.com"]
    mail = message_from_string(server.mails[0][1])
    assert (mail["Subject"], mail["To"]) == ("vmkeep: nightly: 1 problem", "a@example.com")
    text = mail.get_payload(0).get_payload(decode=True).decode()
    assert "failed: 1: &lt;b&gt;{{ web }}" in text, "a VM's name is neither HTML nor a template"


@pytest.mark.parametrize(
    ("when", "started", "told"),
    [
        (NotifyWhen.ALWAYS, STARTED, True),
        (NotifyWhen.ALWAYS, FAILED, True),
        (NotifyWhen.PROBLEMS, STARTED, False),
        (NotifyWhen.PROBLEMS, FAILED, True),
        (NotifyWhen.NEVER, FAILED, False),
    ],
)
def test_people_are_told_when_the_policy_wants_it_also_if_it_names_no_address(policy_with, when, started, told):
    result, events = notify(policy_with(when), started)
    assert result == {"told": told, "mail": [], "untold": []}
    assert [asset for asset, _ in events] == [WINDOWS] * told


def test_the_event_of_a_window_holds_its_problems_and_numbers(policy_with):
    _, [(_, extra)] = notify(policy_with("problems"), FAILED)
    assert (extra["policy"], extra["run"], extra["vms"]["failed"]) == ("nightly", "scheduled__1", 1)
    assert extra["problems"] == ["1 VM failed: <b>{{ web }}"]


def test_people_are_told_of_a_window_that_broke(server, policy_with):
    states = {"plan": "success", "start_backups": "failed"}
    _, [(_, extra)] = notify(policy_with("problems", "a@example.com"), None, states)
    assert "task start_backups failed" in extra["problems"][0]
    assert (
        "task start_backups failed"
        in message_from_string(server.mails[0][1]).get_payload(0).get_payload(decode=True).decode()
    )


def test_mail_that_reaches_nobody_is_tried_again_and_mail_that_reaches_some_is_not(server, policy_with):
    policy = policy_with("always", "a@example.com", "b@example.com")
    server.refused = {"a@example.com"}
    result, events = notify(policy, STARTED)
    assert re.search(r"did not reach a@example\.com: .*nobody of that name", result["untold"][0])
    assert not result["told"]
    assert [asset for asset, _ in events] == [WINDOWS], "the event is kept"
    assert [to for to, _ in server.mails] == ["b@example.com"]
    server.refused = {"a@example.com", "b@example.com"}
    with pytest.raises(AirflowException) as raised:
        notify(policy, STARTED)
    assert not isinstance(raised.value, AirflowFailException)
    result, events = notify(policy, STARTED, tries=4)
    assert "did not reach a@example.com" in result["untold"][0], "the last try ends well"
    assert [asset for asset, _ in events] == [WINDOWS], "because Airflow drops the events of a task that fails"


def test_a_mail_server_that_is_away_is_tried_again_and_one_that_nobody_named_is_not(server, policy_with, monkeypatch):
    policy = policy_with("always", "a@example.com")
    server.shutdown()
    server.server_close()
    with pytest.raises(AirflowException, match="smtp_default takes no mail") as raised:
        notify(policy, STARTED)
    assert not isinstance(raised.value, AirflowFailException)
    monkeypatch.delenv("AIRFLOW_CONN_SMTP_DEFAULT")
    result, _ = notify(policy, STARTED)
    assert "make a connection of type SMTP with the id smtp_default" in result["untold"][0]


def test_a_run_of_which_people_could_not_be_told_fails_and_still_names_its_vms():
    plan = to_plain(planned(1))
    untold = {"untold": ["not everybody was told of nightly: no mail"]}
    for started, notified, words in (
        (STARTED, None, "not everybody was notified"),
        (FAILED, None, "VM failed: .*not everybody was notified"),
        (STARTED, untold, "not everybody was told of nightly: no mail"),
    ):
        report = ReportWindowOperator(task_id="report", plan=plan, started=started, notified=notified)
        with pytest.raises(AirflowFailException, match=words):
            report.execute({"ti": TaskInstance({"plan": plan, "start_backups": started})})


def test_points_that_a_second_repository_lacks_are_a_problem_and_those_that_it_got_are_not():
    plan = to_plain(planned(1))
    good = {"target": "offsite", "copied": 3, "bytes_stored": 1, "failed": {}, "left": []}
    damaged = {**good, "failed": {"vm/1": "block damaged"}, "left": ["vm/2", "vm/3"]}
    for results, words in (
        ([good], None),
        ([], "offsite: the task copies did not end well"),
        ([damaged], "offsite: vm/1: block damaged, offsite: 2 points left for the next window"),
    ):
        task = ReportWindowOperator(
            task_id="report", plan=plan, started=STARTED, notified={"told": False}, copies=["offsite"]
        )
        ti = TaskInstance({"plan": plan, "start_backups": STARTED})
        ti.mapped = {"copies": results}
        if words is None:
            assert task.execute({"ti": ti})["copied"] == ["offsite: 3 points"]
            continue
        with pytest.raises(AirflowFailException, match=words):
            task.execute({"ti": ti})


def test_a_policy_that_is_switched_off_hides_no_vm_from_the_watch_of_the_next_one(tmp_path):
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}"
    for name in ("off", "on", "next"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nselection: name:*\n{window}\nmax_age: 36h\n")
    found = watched(read_folder(tmp_path), lambda name: name != "off")
    assert {policy.name: [one.name for one in others] for policy, others in found} == {
        "next": ["on"], "off": ["next", "on"], "on": ["next"],
    }  # fmt: skip


def test_the_watch_tells_of_each_policy_that_cannot_be_asked_about_and_leaves_the_others_alone(
    server, tmp_path, monkeypatch
):
    sound = "selection: name:web*\nwindow: {start: 22:00, end: 06:00, time_zone: UTC}\n"
    told = "notifications: {to: [me@example.com]}\n"
    (tmp_path / "away.yaml").write_text(f"name: away\n{sound}max_age: 36h\nvsphere: gone\n{told}")
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    (tmp_path / "plain.yaml").write_text(f"name: plain\n{sound}vsphere: gone\n")
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    events: dict[Any, Events] = defaultdict(Events)
    ti = TaskInstance({})
    FindOverdueOperator(task_id="find").execute({"ti": ti, "outlet_events": events})
    broken, away = ti.left[PROBLEMS]
    assert broken.startswith("policy broken: its file has faults")
    assert away.startswith("policy away: nobody can tell")
    assert sorted(extra["policy"] for _, extra in events[ANNOUNCED]) == ["away", "broken"]
    assert [to for to, _ in server.mails] == ["me@example.com"]
    for name in ("away", "broken"):
        (tmp_path / f"{name}.yaml").unlink()
    assert FindOverdueOperator(task_id="find").execute({"ti": TaskInstance({}), "outlet_events": events}) == {}


def test_two_second_repositories_that_are_one_are_a_problem_because_a_copy_is_missing():
    first = {"target": "offsite", "repository": "1", "copied": 3, "bytes_stored": 1, "failed": {}, "left": []}
    third = {**first, "target": "tape", "repository": "2"}

    assert copies_of(["offsite", "tape"], [first, third])["not copied"] == []
    assert copies_of(["offsite", "tape"], [first, {**third, "repository": "1"}])["not copied"] == [
        "tape: it is the same repository as offsite, or a clone of it"
    ]
