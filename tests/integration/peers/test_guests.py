"""govmomi runs programs in a guest of the lab, reads their output through the host, and is refused by the faults."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

ROOT = ("root", "pw-of-root")


@pytest.fixture(scope="module")
def guest(lab):
    lab.post("guest/user", {"vm": "app01", "user": ROOT[0], "password": ROOT[1], "administrator": True})
    lab.post("guest/program", {"vm": "app01", "match": "/usr/local/bin/freeze", "exit": 3, "output": "frozen\n"})
    lab.post("guest/program", {"vm": "app01", "match": "/usr/local/bin/hangs", "seconds": None})
    return "app01"


def test_a_program_runs_to_its_end_and_its_output_comes_from_the_host(client, guest):
    told = client("guest.run", guest, *ROOT, "/bin/sh", "-c /usr/local/bin/freeze > /tmp/out 2>&1", "/tmp/out")

    assert told == {"exit": 3, "owner": "root", "output": "frozen\n"}


def test_a_program_that_hangs_is_terminated(client, guest):
    assert client("guest.stop", guest, *ROOT, "/usr/local/bin/hangs", "") == {"ran": True, "exit": 143}


def test_a_wrong_password_and_a_program_that_is_not_there(peer_error, guest):
    assert peer_error("guest.run", guest, "root", "x", "/bin/sh", "").fault == "InvalidGuestLogin"
    assert peer_error("guest.run", guest, *ROOT, "/bin/nothing", "").fault == "FileNotFound"
    assert peer_error("guest.run", "old01", *ROOT, "/bin/sh", "").fault == "InvalidPowerState"
