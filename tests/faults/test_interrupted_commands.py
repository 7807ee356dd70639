"""A command that is told to stop in mid-copy cleans up before it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.labs import small_lab
from tests.patience import HANG, eventually
from vmkeep.repository import create_repository

pytestmark = pytest.mark.slow

STOPPED = "CancelledError"


@pytest.fixture(scope="module")
def lab(unused_lab, tmp_path_factory):
    with small_lab(unused_lab, tmp_path_factory.mktemp("lab")) as started:
        yield started


@pytest.fixture
def what():
    """The VM, or the group, that is backed up."""
    return ["app01"]


@pytest.fixture
def backup(lab, tmp_path, what):
    """A backup in the middle of its copies, started by a parent that ignores SIGINT, as ``nohup … &`` makes it."""
    create_repository(str(tmp_path / "repository"))
    lab.fault(nfc={"latency": 2.0})
    command = [
        "env", "--ignore-signal=INT", sys.executable, "-m", "vmkeep.cli.main", "backup", "run", *what, "--full",
        "-r", str(tmp_path / "repository"), "--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user,
        "--thumbprint", lab.thumbprint, "--vddk", str(lab.vddk),
    ]  # fmt: skip
    environment = os.environ | {"VMKEEP_PASSWORD": lab.password, "XDG_STATE_HOME": str(tmp_path / "state")}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes, text=True) as running:
        try:
            eventually(lambda: lab.state()["nfc"])
            yield running
        finally:
            running.kill()
            lab.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_backup_that_is_told_to_stop_leaves_no_snapshot_and_no_point(lab, tmp_path, backup, number):
    backup.send_signal(number)
    _, said = backup.communicate(timeout=HANG)

    assert backup.returncode == 130, said
    assert said.splitlines()[-1] == "vmkeep: interrupted"
    assert lab.vm("app01")["snapshots"] == []
    assert not list((tmp_path / "repository").glob("points/*/*"))


def test_an_interrupted_backup_says_who_removes_its_snapshot(lab, backup):
    backup.send_signal(signal.SIGINT)
    said = ""
    for line in backup.stderr:
        said += line
        if "the snapshot that this run took of VM app01, if any, is removed" in line:
            break
    assert backup.poll() is None, said
    backup.send_signal(signal.SIGINT)
    _, rest = backup.communicate(timeout=HANG)

    assert backup.returncode == 130, rest
    (left,) = lab.vm("app01")["snapshots"]
    assert left["name"] in rest
    assert "in vCenter" in rest


@pytest.mark.parametrize("what", [["-s", "name:db01 or name:old01 or name:web01", "--json"]])
def test_a_group_that_is_told_to_stop_leaves_no_snapshot_and_tells_of_every_vm(lab, tmp_path, backup, what):
    eventually(lambda: lab.vm("db01")["snapshots"])
    backup.send_signal(signal.SIGINT)
    told, said = backup.communicate(timeout=HANG)

    assert backup.returncode == 130, said
    assert [lab.vm(name)["snapshots"] for name in ("db01", "old01", "web01")] == [[], [], []]
    assert not list((tmp_path / "repository").glob("points/*/*"))
    document = json.loads(told)
    assert [(vm["name"], vm["class"]) for vm in document["vms"]] == [("db01", STOPPED), ("old01", STOPPED)]
    assert [vm["name"] for vm in document["not_started"]] == ["web01"]
