"""No process that holds a password or a key leaves a core dump, or can be read by others of its user."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from vmkeep.errors import TransferError
from vmkeep.transfer import start_copy


def limits(pid):
    """Return the soft and hard limit of a process's core dumps."""
    line = next(line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line)
    return line.split()[4:6]


@pytest.fixture
def generous():
    """Let this process, and what it starts, leave core dumps."""
    before = resource.getrlimit(resource.RLIMIT_CORE)
    # The hard limit is as far as anybody may go: in a container, root itself may lack the right to raise it.
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, before)


def test_a_child_at_work_may_leave_no_core_dump(place, monkeypatch, generous):
    monkeypatch.setenv("FAKE_VDDK", "thread,delay=2000")
    seen = []

    def look(_):
        seen.append(limits(running.pid))

    with start_copy(place.site, place.job(), cursor=None, on_progress=look) as running:
        running.wait()
    assert seen
    assert set(map(tuple, seen)) == {("0", "0")}


def test_a_crash_of_the_library_leaves_no_core_dump(place, monkeypatch, tmp_path, generous):
    monkeypatch.setenv("FAKE_VDDK", "crash=9,thread")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with (
        start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as running,
        pytest.raises(TransferError, match="SIGSEGV"),
    ):
        running.wait()
    assert list((tmp_path / "here").iterdir()) == []


TOLD = """
import ctypes, os, resource, sys
def tell():
    sys.stderr.write(f"dumpable {ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)} {resource.getrlimit(resource.RLIMIT_CORE)}")
tell()
"""
STARTS = {
    "a transfer's child": "from vmkeep.transfer.child import main\nmain()",
    "the command line": "from vmkeep.cli.start import start\nsys.argv = ['vmkeep', '--version']\n"
    "try: start()\nexcept SystemExit: pass",
    "a task of Airflow": "from vmkeep_airflow import site\n"
    "try: site.make_site(vsphere_conn_id='none', repository_conn_id='none')\nexcept Exception: pass",
}


@pytest.mark.parametrize("start", STARTS)
def test_no_other_process_of_the_user_can_look_in(start):
    code = f"{TOLD}\n{STARTS[start]}\ntell()"
    done = subprocess.run([sys.executable, "-c", code], input=b"", capture_output=True, check=True)
    words = done.stderr.decode()
    assert words.startswith("dumpable 1")
    assert words.endswith("dumpable 0 (0, 0)")
