"""The demo as a person runs it: it ends well, says what died, and leaves no process behind, however it ends."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from demo.api import AirflowApi
from demo.processes import Component, ComponentDiedError
from demo.progress import ProgressLine
from demo.scenario import Scenario
from tests.patience import HANG, eventually

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
ENDED = (130, -signal.SIGINT)
"""The ends after an interruption; a shell shows both as 130.

Python ends itself by SIGINT if the interruption met an ``exec`` of a text, as a dataclass makes one, though it was
caught after that.
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "demo"


@pytest.fixture
def start(folder) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        # As from ``nohup … &``, which is the hardest way to be started.
        command = ["env", "--ignore-signal=INT", sys.executable, "-m", "demo", "--dir", str(folder), *arguments]
        demo = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(demo)
        return demo

    yield start
    for demo in started:
        demo.kill()
        demo.wait()
        demo.stdout.close()


def components(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in the demo's folder, the demo itself left out."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            mine = str(folder) in " ".join(process.cmdline()) or process.environ().get("AIRFLOW_HOME", "").startswith(
                str(folder)
            )
            if mine and process.cmdline()[1:3] != ["-m", "demo"] and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def assert_no_process_is_left(folder: Path, seconds: float = HANG) -> None:
    end = time.monotonic() + seconds
    while left := components(folder):
        assert time.monotonic() < end, [process.cmdline() for process in left]
        time.sleep(0.2)


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_until(demo: subprocess.Popen[str], text: str) -> str:
    said = ""
    for line in demo.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"the demo ended without saying {text!r}:\n{said}")


def test_the_demo_backs_up_and_restores_and_every_byte_is_compared(start, folder):
    demo = start("--once")
    said = demo.stdout.read()
    assert demo.wait() == 0, said
    assert "app01: all 4 disks are as in the first point, byte for byte" in said
    assert "app01-restored: all 4 disks are as in the second point, byte for byte" in said
    assert "Hard disk 4 skipped (physical RDM)" in said
    for run in ("full backup", "incremental backup", "restore over", "restore to new VM", "window of a policy"):
        assert re.search(rf"│ {run} ", said), f"the table has no row for: {run}"
    assert re.search(r"http://127\.0\.0\.1:\d+, user admin, password \S+", said)
    assert not folder.exists()
    assert_no_process_is_left(folder)


def test_a_component_that_dies_ends_the_demo_with_its_name_and_its_log(start, folder):
    demo = start("--once")
    read_until(demo, "waiting for the lab")
    triggerer = next(process for process in components(folder) if "triggerer" in process.cmdline())
    triggerer.send_signal(signal.SIGKILL)
    said = demo.stdout.read()
    assert demo.wait() == 1
    assert "Airflow's triggerer ended by itself" in said
    assert str(folder / "airflow/components/triggerer.log") in said
    assert_no_process_is_left(folder)


class NeverReady(BaseHTTPRequestHandler):
    """Answers as an Airflow whose runs never end."""

    def do_POST(self) -> None:
        self.say({"access_token": "token", "dag_run_id": "run"})

    def do_GET(self) -> None:
        self.say({"state": "running", "task_instances": []})

    def say(self, answer: object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def never_ready() -> Iterator[AirflowApi]:
    with ThreadingHTTPServer(("127.0.0.1", 0), NeverReady) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield AirflowApi(f"http://127.0.0.1:{server.server_port}", user="admin", password="guess")
        server.shutdown()


def test_a_component_that_dies_while_a_run_goes_on_ends_the_scenario(never_ready, tmp_path):
    component = Component("the lab", ["false"], env={}, log=tmp_path / "lab.log")
    component.start()
    scenario = Scenario(api=never_ready, lab=None, line=ProgressLine(), check=component.check)
    with pytest.raises(ComponentDiedError, match="the lab ended by itself"):
        scenario.play({})
    component.stop()


def test_a_second_demo_in_the_same_place_is_refused_and_stop_ends_the_first(start, folder):
    first = start()
    read_until(first, "starting")
    second = start()
    assert "a demo runs already" in second.stdout.read()
    assert second.wait() == 2
    stop = start("--stop")
    assert "demo stopped" in stop.stdout.read()
    assert first.wait(timeout=HANG) in ENDED
    assert_no_process_is_left(folder)


def test_ctrl_c_ends_a_demo_however_it_was_started(start, folder):
    demo = start()
    read_until(demo, "starting")
    demo.send_signal(signal.SIGINT)
    assert demo.wait(timeout=HANG) in ENDED
    assert_no_process_is_left(folder)


def test_a_demo_that_is_killed_takes_its_processes_with_it(start, folder):
    demo = start()
    read_until(demo, "waiting for the lab")
    started = psutil.Process(demo.pid).children()
    assert len(started) >= 5
    demo.kill()
    demo.wait()
    eventually(lambda: not any(lives(process) for process in started), "the end of all processes")
    assert_no_process_is_left(folder)
