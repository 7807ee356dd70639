"""Children that most tests fork (tests/transfers.py) do as those that the product starts."""

import os
import signal
import subprocess

import pytest

from tests.transfers import Server
from vmkeep.errors import TransferError
from vmkeep.transfer import start_copy


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


def copy(place, run, on_progress=lambda _: None):
    with start_copy(place.site, place.job(run=run), cursor=None, on_progress=on_progress) as running:
        return running.pid, running.wait()


def test_a_forked_child_copies_as_a_started_one_does_and_nothing_is_started(place, server, monkeypatch):
    _, started = copy(place, "run-1")
    with server.in_use():
        copy(place, "run-2")
        monkeypatch.setattr(subprocess, "Popen", None)
        pid, forked = copy(place, "run-3")

    assert (forked.root, forked.bytes_read, forked.transport) == (started.root, started.bytes_read, started.transport)
    assert 0 < forked.cpu_seconds < started.cpu_seconds + 1
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_forked_child_that_is_killed_is_told_as_any_other(place, server):
    with server.in_use(), start_copy(place.site, place.job(), cursor=None, on_progress=lambda _: None) as running:
        assert os.getpgid(running.pid) == running.pid
        os.kill(running.pid, signal.SIGKILL)
        with pytest.raises(TransferError, match="killed"):
            running.wait()


def test_a_child_is_started_if_a_test_has_changed_what_only_a_start_reads(place, server, in_children):
    in_children("import vmkeep.transfer.child as child; child.PROGRESS_EVERY = 0\n")
    with server.in_use():
        copy(place, "run-1")
    assert server.is_idle
