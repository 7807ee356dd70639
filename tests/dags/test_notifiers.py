"""A notice reaches people by each notifier that their policy names, through Airflow's own notifiers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseNotifier
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from vmkeep.errors import PolicyError, UsageError
from vmkeep.policy import Notifications, NotifyWhen
from vmkeep_airflow.alarms import tell, tell_each, tell_in_tries, wishes_about
from vmkeep_airflow.notices import Notice, NoticeKind
from vmkeep_airflow.notifiers import known_notifiers, make_notifier
from vmkeep_airflow.policies import require_sound_policies

NAME = "<b>{{ 7*7 }}\u202e\n<!channel>"
NOTICE = Notice(
    kind=NoticeKind.WINDOW, about="nightly", subject="vmkeep: nightly: 1 problem", lines=[f"failed: {NAME}"]
)
WEBHOOK = {
    "class": "airflow.providers.http.notifications.http.HttpNotifier",
    "kwargs": {
        "http_conn_id": "chat",
        "endpoint": "/hook",
        "json": {"title": "{{ notice.subject }}", "text": "{{ notice.text }}", "safe": "{{ notice.html }}"},
    },
}
TOLD: list[dict[str, Any]] = []


class Pager(BaseNotifier):
    """A notifier of a site, which keeps what it was told."""

    template_fields = ("text",)

    def __init__(self, text: str = "{{ notice.kind }}: {{ notice.about }}", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.text = text

    def notify(self, context: Any) -> None:
        TOLD.append({"text": self.text})


class Broken(BaseNotifier):
    def notify(self, context: Any) -> None:
        raise OSError("no route to chat")


@pytest.fixture
def known(monkeypatch):
    def set_to(**notifiers: Any) -> None:
        monkeypatch.setenv("AIRFLOW__VMKEEP__NOTIFIERS", json.dumps(notifiers))

    TOLD.clear()
    return set_to


def wish(*names: str, when: NotifyWhen = NotifyWhen.PROBLEMS) -> Notifications:
    return Notifications(when=when, notifiers=names)


def own(kind: type[BaseNotifier], **kwargs: Any) -> dict[str, Any]:
    return {"class": f"{kind.__module__}.{kind.__qualname__}", "kwargs": kwargs}


@pytest.fixture
def webhook(monkeypatch):
    """Return the bodies that a webhook gets."""
    bodies: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        fields = {"conn_type": "http", "host": "127.0.0.1", "port": server.server_address[1], "schema": "http"}
        monkeypatch.setenv("AIRFLOW_CONN_CHAT", json.dumps(fields))
        yield bodies
        server.shutdown()


def test_a_webhook_of_airflows_provider_gets_the_notice_with_names_that_are_no_template_and_no_markup(known, webhook):
    known(chat=WEBHOOK)

    assert tell([wish("chat")], NOTICE) == ()

    text = "failed: <b>{{ 7*7 }}  <!channel>"
    safe = "failed: &lt;b&gt;{{ 7*7 }}  &lt;!channel&gt;"
    assert webhook == [{"title": "vmkeep: nightly: 1 problem", "text": text, "safe": safe}]


def test_a_notifier_that_many_policies_name_tells_once_and_one_that_says_never_does_not_count(known):
    known(pager=own(Pager), other=own(Pager))

    tell([wish("pager"), wish("pager"), wish("other", when=NotifyWhen.NEVER)], NOTICE)

    assert TOLD == [{"text": "window: nightly"}]


def test_a_notifier_that_fails_keeps_no_other_one_from_telling_and_no_retry_tells_twice(known):
    known(broken=own(Broken), pager=own(Pager))

    with pytest.raises(AirflowFailException, match="notifier broken: OSError: no route to chat"):
        tell([wish("broken", "pager")], NOTICE)

    assert TOLD == [{"text": "window: nightly"}]
    with pytest.raises(AirflowException) as raised:
        tell([wish("broken")], NOTICE)
    assert not isinstance(raised.value, AirflowFailException), "nobody was told, and another try may help"
    assert list(tell_each([wish("broken")], NOTICE)) == [
        "not everybody was told of nightly: notifier broken: OSError: no route to chat"
    ]


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_task_that_reaches_nobody_uses_each_of_its_tries_and_ends_well_in_the_last_one(known, retries):
    known(broken=own(Broken))
    for number in range(1, retries + 1):
        with pytest.raises(AirflowException, match="no route to chat"):
            tell_in_tries(SimpleNamespace(try_number=number, max_tries=retries), [wish("broken")], NOTICE)

    to, why = tell_in_tries(SimpleNamespace(try_number=retries + 1, max_tries=retries), [wish("broken")], NOTICE)

    assert to == ()
    assert why == ["not everybody was told of nightly: notifier broken: OSError: no route to chat"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "there is no notifier chat: .* has none"),
        ({"chat": {"class": "no.such.Notifier"}}, "cannot be made of no.such.Notifier: .* is its provider installed"),
        ({"chat": {"class": "vmkeep.errors.UsageError"}}, "is no notifier of Airflow"),
        ({"chat": {"class": "plain"}}, "cannot be made of plain"),
        ({"chat": own(Pager, colour="red")}, "unexpected keyword argument 'colour'"),
    ],
)
def test_a_notifier_that_cannot_be_made_is_told_with_its_reason(known, given, words):
    known(**given)
    with pytest.raises(UsageError, match=words):
        make_notifier("chat")
    with pytest.raises(AirflowFailException, match=words):
        tell([wish("chat")], NOTICE)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"chat": 1}', '{"chat": {"class": "a.B", "more": 1}}', '{"mail": {"class": "a.B"}}']
)
def test_a_setting_with_a_fault_is_told_with_an_example(monkeypatch, text):
    monkeypatch.setenv("AIRFLOW__VMKEEP__NOTIFIERS", text)
    with pytest.raises(UsageError, match=r"\[vmkeep\] notifiers"):
        known_notifiers()


def test_a_policy_that_names_a_notifier_that_is_not_there_is_an_import_error_before_any_window_ends(
    known, tmp_path, monkeypatch
):
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}"
    policy = f"name: nightly\nselection: name:*\n{window}\nnotifications: {{notifiers: [chat]}}\n"
    (tmp_path / "nightly.yaml").write_text(policy)
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    known(pager=own(Pager))

    with pytest.raises(PolicyError, match=r"nightly\.yaml: there is no notifier chat: .* has pager"):
        require_sound_policies()

    known(chat=own(Pager))
    require_sound_policies()
    assert [one.notifiers for one in wishes_about(repository="vmkeep_default")] == [("chat",)]
    assert wishes_about(vsphere="elsewhere") == []
