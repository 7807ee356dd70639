"""Children, parents and libraries that die or hang in the middle of a copy."""

import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import CancelledError, DeadlineError, FencedError, TransferError
from vmkeep.repository import Kind, open_repository
from vmkeep.transfer import child_process as running_module
from vmkeep.transfer import choose_driver, start_copy

SLOW = "thread,delay=60000"
"""60 ms for each of the disk's pieces: time to strike."""


def ignore(_):
    """Take no notice of progress."""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(condition):
    eventually(condition)


def has_live_lease(place):
    with open_repository(place.site.repository) as repository:
        return repository.run("run-1").has_live_lease()


def start(place, on_progress=ignore, cursor=None, job=None):
    return start_copy(place.site, job or place.job(piece_size=65536), cursor=cursor, on_progress=on_progress)


class Striker:
    """A progress function that sends the child a signal once data flows."""

    def __init__(self, number, *, at=lambda progress: progress.bytes_done, before=lambda: None):
        self.number = number
        self.at = at
        self.before = before
        self.struck = None
        self.running = None

    def __call__(self, progress):
        if self.at(progress) and self.struck is None:
            self.struck = progress
            self.before()
            os.kill(self.running.pid, self.number)


def follow_to_death(place, striker, job=None):
    with start(place, striker, job=job) as striker.running:
        try:
            striker.running.wait()
        finally:
            assert not alive(striker.running.pid)


def test_a_killed_child_is_a_lost_attempt_that_names_the_signal(place, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", SLOW)
    with pytest.raises(TransferError, match=r"web Hard disk 1 .*SIGKILL"):
        follow_to_death(place, Striker(signal.SIGKILL))


def test_after_a_kill_the_next_try_goes_on_at_the_cursor(place, monkeypatch, in_children):
    """A checkpoint ends at a page of the map, which is 32 MiB of the disk. A read behind it never completes."""
    size = 80 << 20
    tail = random.Random(3).randbytes(20 << 20)
    in_children("import vmkeep.transfer.storing as s; s._CHECKPOINT_SECONDS = s._CHECK_SECONDS = 0")
    with place.disk.open("wb") as file:
        file.truncate(size - len(tail))
        file.seek(0, 2)
        file.write(tail)
    disk = replace(place.job().disk, capacity=size)
    job = place.job(disk=disk, snapshot="snapshot-1", piece_size=1 << 20, depth=8)
    monkeypatch.setenv("FAKE_VDDK", "thread,hang=70")
    striker = Striker(signal.SIGKILL, at=lambda progress: progress.cursor and progress.cursor.offset)
    with pytest.raises(TransferError):
        follow_to_death(place, striker, job)
    cursor = striker.struck.cursor
    monkeypatch.setenv("FAKE_VDDK", "thread")
    with start(place, cursor=cursor, job=job) as running:
        resumed = running.wait()
    assert resumed.resumed_at == cursor.offset
    with open_repository(place.site.repository) as repository:
        stored = [(number, digest) for number, digest in repository.open_map(resumed.root).blocks()]
        block = repository.descriptor.block_size
        first = (size - len(tail)) // block
        expected = [
            (first + at // block, repository.framer.digester.of(Kind.BLOCK, tail[at : at + block]))
            for at in range(0, len(tail), block)
        ]
        assert stored == expected, "and every other block is a hole"


def test_a_crash_of_the_library_costs_one_attempt_and_leaves_its_last_lines(place, monkeypatch, caplog):
    monkeypatch.setenv("FAKE_VDDK", "crash=9,thread")
    expected = r"SIGSEGV .*crash of the C library.*Fatal Python.*; VDDK 6\.5\.0 at .* said last: VDDK_PhoneHome: noise"
    with caplog.at_level("INFO", logger="vmkeep"), start(place) as running:
        with pytest.raises(TransferError, match=expected):
            running.wait()
        with pytest.raises(TransferError, match=expected):
            running.wait()
    assert [record.message for record in caplog.records].count(f"VDDK said: init 6.5 in {place.site.vddk}") == 1
    monkeypatch.setenv("FAKE_VDDK", "thread")
    with start(place) as running:
        assert running.wait().bytes_read == len(place.content)


def test_a_library_that_hangs_in_its_start_is_ended(place, monkeypatch):
    """InitEx runs while no thread may watch it yet, so the kernel's alarm does."""
    monkeypatch.setenv("FAKE_VDDK", "hanginit")
    code = "import vmkeep.transfer.child as c; c.INIT_SECONDS = 1; c.main()"
    from vmkeep.transfer.protocol import ChildRequest, plain_site

    driver = choose_driver(place.site).place
    request = ChildRequest(verb="copy", site=plain_site(place.site), job={}, driver=driver).encode()
    done = subprocess.run([sys.executable, "-P", "-c", code], input=request, capture_output=True, timeout=HANG)
    assert done.returncode == -signal.SIGALRM


def test_a_cancelled_copy_gives_its_lease_back_before_it_is_killed(place, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", SLOW)
    monkeypatch.setattr(running_module, "GRACE", HANG)
    started = []
    with start(place, on_progress=lambda p: started.append(p) if p.bytes_done else None) as running:
        failed = []

        def follow():
            try:
                running.wait()
            except CancelledError as error:
                failed.append(error)

        waiting = threading.Thread(target=follow)
        waiting.start()
        wait_until(lambda: started)
        assert has_live_lease(place)
        running.cancel()
        waiting.join()
    assert len(failed) == 1
    assert not alive(running.pid)
    assert not has_live_lease(place)


def test_sigterm_is_a_cancel(place, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", SLOW)
    with pytest.raises(CancelledError, match="SIGTERM"):
        follow_to_death(place, Striker(signal.SIGTERM))
    assert not has_live_lease(place)


def test_a_child_that_cannot_stop_is_ended_all_the_same(place, monkeypatch, in_children):
    in_children("import vmkeep.transfer.stop_reasons as s; s.GRACE = 0.2")
    monkeypatch.setattr(running_module, "GRACE", HANG)
    monkeypatch.setenv("FAKE_VDDK", "hang=9,thread")
    with start(place) as running:
        wait_until(lambda: has_live_lease(place))
        running.cancel()
    assert not alive(running.pid)


def test_a_fenced_copy_stops_by_itself(place, monkeypatch):
    monkeypatch.setenv("FAKE_VDDK", "thread,delay=40000")
    with open_repository(place.site.repository) as repository:
        fence = repository.run("run-1").fence
        with start(place, lambda _: fence()) as running, pytest.raises(FencedError):
            running.wait()


PARENT = """
import os, sys, time
from vmkeep.model.job import DiskJob, from_json
from vmkeep.model.site import Site
from vmkeep.transfer import start_copy
site = Site(repository=sys.argv[1], vddk=sys.argv[2])
job = from_json(DiskJob, sys.argv[3])
running = start_copy(site, job, cursor=None, on_progress=lambda p: None)
forked = {forked}
if not forked: time.sleep(1000)
print(running.pid, forked, flush=True)
running.wait()
"""


@pytest.mark.parametrize(
    "forked",
    [
        "1",
        # A program forked by the parent keeps the other end of the child's stdin open: its end never comes.
        "os.fork()",
    ],
    ids=["alone", "forked"],
)
def test_the_child_of_a_killed_parent_ends_by_itself(place, monkeypatch, forked):
    from vmkeep.model.job import to_json

    monkeypatch.setenv("FAKE_VDDK", "thread,delay=60000")
    job = to_json(place.job(piece_size=65536)).decode()
    arguments = [sys.executable, "-c", PARENT.format(forked=forked), place.site.repository, place.site.vddk, job]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as parent:
        child, other = map(int, parent.stdout.readline().split())
        wait_until(lambda: has_live_lease(place))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        wait_until(lambda: not alive(child))
        if other != 1:
            assert alive(other)
            os.kill(other, signal.SIGKILL)
    assert not has_live_lease(place)


@pytest.fixture
def soon(monkeypatch):
    """Have a child counted as silent soon, but only once it was stopped: its start may take a busy machine longer."""
    return lambda: monkeypatch.setattr(running_module, "SILENCE", 1.0)


def test_a_silent_child_is_killed(place, monkeypatch, soon):
    monkeypatch.setenv("FAKE_VDDK", SLOW)
    with pytest.raises(Exception, match="a sign of life from the copy of web"):
        follow_to_death(place, Striker(signal.SIGSTOP, before=soon))


def test_a_child_that_no_signal_reaches_hangs_nobody(place, monkeypatch, soon):
    """As one that waits in the kernel for a server that is gone."""
    monkeypatch.setenv("FAKE_VDDK", SLOW)
    monkeypatch.setattr(running_module, "GRACE", 0.1)
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)
    striker = Striker(signal.SIGSTOP, before=soon)
    with start(place, striker) as striker.running:
        try:
            with pytest.raises(DeadlineError, match="a sign of life from the copy of web"):
                striker.running.wait()
            assert alive(striker.running.pid)
        finally:
            os.kill(striker.running.pid, signal.SIGKILL)
