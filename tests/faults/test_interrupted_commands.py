"""A command that is told to stop in mid-copy cleans up before it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from vmkeep.repository import create_repository
from vmlab.testing import start_lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with start_lab(tmp_path_factory.mktemp("lab") / "lab", data_disk_gib=0.0625) as started:
        yield started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_backup_that_is_told_to_stop_leaves_no_snapshot_and_no_point(lab, tmp_path, number):
    location = str(tmp_path / "repository")
    create_repository(location)
    lab.fault(nfc={"latency": 2.0})
    command = [
        sys.executable, "-m", "vmkeep.cli.main", "backup", "run", "app01", "--full", "-r", location,
        "--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user, "--thumbprint", lab.thumbprint,
        "--vddk", str(lab.vddk),
    ]  # fmt: skip
    environment = os.environ | {"VMKEEP_PASSWORD": lab.password, "XDG_STATE_HOME": str(tmp_path / "state")}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        try:
            _wait_for(lambda: lab.state()["nfc"])
            running.send_signal(number)
            _, said = running.communicate(timeout=90)
        finally:
            running.kill()
            lab.clear()

    assert running.returncode == 130, said
    assert "interrupted" in said
    assert lab.vm("app01")["snapshots"] == []
    assert not list((tmp_path / "repository").glob("points/*/*"))


def _wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
