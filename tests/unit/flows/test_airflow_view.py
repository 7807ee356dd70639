"""The web view of an Airflow is asked over HTTP: with its own token, of one server alone, and with plain errors."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.command_line import run_here
from vmkeep.errors import (
    AuthenticationError,
    NotFoundError,
    PermissionDeniedError,
    SomeFailedError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)
from vmkeep.flows.airflow_view import AirflowAccess, AirflowView

HEALTHY = {name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "dag_processor", "triggerer")}
TASK = {"task": "copy_disk", "name": "Hard disk 1", "label": "at work", "percent": 25, "speed": "1.0 MiB/s",
        "left": "3 min left", "host": "proxy1"}  # fmt: skip
WORK: dict[str, Any] = {
    "runs": [{"dag_id": "vm_backup", "run_id": "r1", "about": "web01", "is_running": True, "tasks": [TASK]}],
    "more": 0, "problems": [], "limits": [{"conn_id": "main", "limit_rate": None, "location": "s3://b/r"}],
}  # fmt: skip


def window(state, tone, run_id="r", opens="2026-11-26T22:00:00+00:00"):
    return {"policy": "nightly", "opens": {"iso": opens, "shown": opens}, "closes": None, "state": state,
            "label": state, "tone": tone, "done": 3, "vms": 4, "run_id": run_id}  # fmt: skip


def day_of(*rows, problems=()):
    return {"day": "2026-11-27", "before": "2026-11-26", "rows": list(rows), "problems": list(problems)}


class Answers:
    """Stands for an Airflow: it keeps what it is asked, and gives the answers of the test."""

    url = ""

    def __init__(self) -> None:
        self.given: dict[str, tuple[int, Any]] = {
            "/auth/token": (201, {"access_token": "t1"}),
            "/vmkeep/api/running": (200, WORK),
            "/api/v2/monitor/health": (200, HEALTHY),
            "/vmkeep/api/windows": (200, day_of(window("in time", "good"))),
            "/vmkeep/api/windows?day=2026-11-26": (200, day_of()),
        }
        self.asked: list[tuple[str, str, str | None, Any]] = []


@pytest.fixture
def airflow():
    answers = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
            answers.asked.append((self.command, self.path, self.headers.get("Authorization"), body))
            code, told = answers.given.get(self.path, (404, {"detail": "Not Found"}))
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "http://elsewhere.invalid/")
            self.end_headers()
            self.wfile.write(told.encode() if isinstance(told, str) else json.dumps(told).encode())

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        answers.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield answers
        server.shutdown()


@pytest.fixture
def view(airflow):
    return AirflowView(AirflowAccess(url=airflow.url + "/", user="admin", password="secret", token=None))


@pytest.fixture
def command(airflow):
    def run(*arguments):
        return run_here("run", *arguments, VMKEEP_AIRFLOW_URL=airflow.url, VMKEEP_AIRFLOW_USER="admin",
                        VMKEEP_AIRFLOW_PASSWORD="secret", VMKEEP_CONFIG="/dev/null")  # fmt: skip

    return run


def test_it_logs_in_once_and_names_its_token_from_then_on(view, airflow):
    view.work()
    view.windows("2026-11-26")
    assert airflow.asked[0] == ("POST", "/auth/token", None, {"username": "admin", "password": "secret"})
    assert [(path, token) for _, path, token, _ in airflow.asked[1:]] == [
        ("/vmkeep/api/running", "Bearer t1"), ("/vmkeep/api/windows?day=2026-11-26", "Bearer t1"),
    ]  # fmt: skip


def test_names_of_others_stay_one_part_of_an_address(view, airflow):
    airflow.given["/vmkeep/api/running/stop/vm_backup/a%2F..%2Fb%3Fc"] = (200, {"about": "", "consequence": ""})
    view.stop("vm_backup", "a/../b?c")
    assert airflow.asked[-1][1] == "/vmkeep/api/running/stop/vm_backup/a%2F..%2Fb%3Fc"


@pytest.mark.parametrize(
    ("code", "told", "error", "words"),
    [
        (401, {"detail": "no"}, AuthenticationError, "refuses it"),
        (403, {"detail": "ask"}, PermissionDeniedError, "ask"),
        (404, {"detail": "No run r1 is in work"}, NotFoundError, "No run r1"),
        (404, "<html>", NotFoundError, "web view"),
        (409, {"detail": "elsewhere"}, UnsupportedError, "elsewhere"), (422, {"detail": "fast"}, UsageError, "fast"),
        (502, "<html>", UnreachableError, "502"), (302, "", UsageError, r"elsewhere\.invalid"),
        (200, "<html>", UnreachableError, "not as an Airflow"), (200, [1], UnreachableError, "not as an Airflow"),
    ],
)  # fmt: skip
def test_a_refusal_is_the_error_that_it_means(view, airflow, code, told, error, words):
    airflow.given["/vmkeep/api/running"] = code, told
    with pytest.raises(error, match=words):
        view.work()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("windows", "--day", "yesterday"), "Invalid value for '--day': 'yesterday' is no day: write e.g. 2026-11-28"),
        (("windows", "--day", "2026-13-45"), "'2026-13-45' is no day"),
        (("limit", "main", "fast"), "Invalid value for '[RATE]'"),
    ],
)
def test_a_value_that_is_none_is_told_before_anybody_logs_in(command, airflow, arguments, words):
    done = command(*arguments)
    assert done.returncode == UsageError.exit_code
    assert words in done.stderr
    assert airflow.asked == []


def test_a_refusal_of_what_was_asked_begins_with_the_reason(view, airflow):
    airflow.given["/vmkeep/api/running"] = 404, {"detail": "No run r1 of vm_backup is in work."}
    with pytest.raises(NotFoundError, match=r"^No run r1 of vm_backup is in work \(told by Airflow at http"):
        view.work()


def test_an_airflow_that_is_not_there_is_told_with_its_address():
    access = AirflowAccess(url="http://127.0.0.1:9", user=None, password=None, token="t")
    with pytest.raises(UnreachableError, match="9 gives no answer"):
        AirflowView(access).work()


@pytest.mark.parametrize(
    "url",
    [
        "airflow.example.com", "file:///etc/passwd", "https://", "http://[::1", "http://h:x", f"http://{'a' * 70}",
        "http://h/ä",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_before_a_password_goes_anywhere(url):
    with pytest.raises(UsageError, match="is none"):
        AirflowAccess(url=url, user="a", password="b", token=None)


def test_a_password_in_an_address_is_refused_and_not_shown():
    with pytest.raises(UsageError, match="a user name in it") as refused:
        AirflowAccess(url="http://u:geheim@airflow", user=None, password=None, token="t")
    assert "geheim" not in str(refused.value)


def test_a_list_shows_each_task_and_a_limit_is_changed_and_shown(command, airflow):
    listed = command("list")
    assert "Hard disk 1" in listed.stdout
    assert "25 %" in listed.stdout
    assert json.loads(command("list", "--json").stdout) == WORK

    airflow.given["/vmkeep/api/running/limits/main"] = 200, {"limit_rate": ""}
    for nothing in ([], [""], [" "]):
        refused = command("limit", "main", *nothing)
        assert (refused.returncode, "the rate is missing" in refused.stderr) == (2, True), refused.stderr
    changed = command("limit", "main", "unlimited")
    assert (changed.returncode, "s3://b/r" in changed.stdout) == (0, True), changed.stderr
    assert ("POST", "/vmkeep/api/running/limits/main", "Bearer t1", {"limit_rate": ""}) in airflow.asked


def test_a_list_says_that_nothing_runs_names_plans_and_invents_no_name_for_a_run_without_a_vm(command, airflow):
    airflow.given["/vmkeep/api/running"] = 200, {**WORK, "runs": []}
    assert command("list").stdout == "Nothing runs now.\n"
    check = {"dag_id": "repository_check", "run_id": "r2", "about": "", "is_running": True, "tasks": []}
    plan = {**WORK["runs"][0], "run_id": "plan__1", "dag_id": "vm_restore", "only_plans": True}
    airflow.given["/vmkeep/api/running"] = 200, {**WORK, "runs": [check, plan]}
    listed = command("list").stdout
    assert "name:" not in listed
    assert "plan: web01" in listed


@pytest.mark.parametrize("code", [403, 404])
def test_an_address_that_ends_in_that_of_the_web_view_is_told(airflow, code):
    airflow.given["/vmkeep/vmkeep/api/running"] = code, {"detail": "Not Found"}
    view = AirflowView(AirflowAccess(url=f"{airflow.url}/vmkeep/", user=None, password=None, token="t"))
    with pytest.raises((NotFoundError, PermissionDeniedError), match="without it"):
        view.work()


def test_a_stop_tells_what_happens_then(command, airflow):
    stopped = {"dag_id": "vm_backup", "run_id": "r1", "about": "web01", "consequence": "Its copies end."}
    airflow.given["/vmkeep/api/running/stop/vm_backup/r1"] = 200, stopped
    assert command("stop", "vm_backup", "r1").stdout == "vm_backup r1 (web01) is told to end. Its copies end.\n"


@pytest.mark.parametrize(
    ("rows", "health", "words"),
    [
        ([window("in time", "good")], {}, ""),
        ([window("late", "warn"), window("overdue", "warn"), window("empty", "warn")], {}, ""),
        ([window("stuck", "bad")], {}, "policy nightly: stuck"),
        ([window("no run", "warn", run_id="")], {}, "policy nightly: no run"),
        ([window("no run", "warn", run_id="", opens="2999-01-01T00:00:00+00:00")], {}, ""),
        ([window("coming off", "warn", run_id="", opens="2999-01-01T00:00:00+00:00")], {}, ""),
        ([], {"scheduler": {"status": "unhealthy", "latest_scheduler_heartbeat": "21:58"}},
         "scheduler: unhealthy, last sign of life 21:58"),
        ([], {"dag_processor": None}, "dag processor: not there"),
    ],
)  # fmt: skip
def test_a_monitoring_system_hears_of_windows_and_of_a_scheduler_that_is_down(command, airflow, rows, health, words):
    airflow.given["/vmkeep/api/windows"] = 200, day_of(*rows)
    airflow.given["/api/v2/monitor/health"] = 200, HEALTHY | health

    done = command("windows")

    assert done.returncode == (SomeFailedError.exit_code if words else 0), done.stderr
    assert words in done.stderr


def test_a_window_that_failed_late_is_still_told_after_midnight_and_a_day_that_is_named_is_told_alone(command, airflow):
    failed, over_midnight = window("failures", "bad"), window("open", "calm", opens="2026-11-26T23:00:00+00:00")
    airflow.given["/vmkeep/api/windows"] = 200, day_of(over_midnight, problems=["one file has faults"])
    yesterday = day_of(failed, over_midnight, problems=["one file has faults"])
    airflow.given["/vmkeep/api/windows?day=2026-11-26"] = 200, yesterday

    done, named = command("windows", "--json"), command("windows", "--day", "2026-11-26", "--json")

    assert done.returncode == SomeFailedError.exit_code
    assert done.stderr.count("policy nightly: failures") == done.stderr.count("one file has faults") == 1
    assert json.loads(done.stdout)["yesterday"] == yesterday
    assert command("windows").stdout.count("2026-11-26T23:00") == 1, "a window of both days is listed once"
    assert "yesterday" not in json.loads(named.stdout)


def test_without_an_address_or_a_user_the_command_says_what_to_give():
    bare = {"VMKEEP_CONFIG": "/dev/null", "VMKEEP_AIRFLOW_URL": None}
    assert "--airflow-url" in run_here("run", "list", **bare).stderr
    assert "--airflow-user" in run_here("run", "list", "--airflow-url", "http://127.0.0.1:9", **bare).stderr
