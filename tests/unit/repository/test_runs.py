"""Run notes, leases and the fence."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from tests.patience import HANG, eventually
from vmkeep.clock import Deadline
from vmkeep.errors import CorruptError, DeadlineError, FencedError, NotFoundError, StoreError
from vmkeep.model.extents import Extent
from vmkeep.repository.notes import leases, runs
from vmkeep.testing import FaultyStore, MemoryStore


@pytest.fixture
def area(repository):
    return repository.run("scheduled__2026-01-01T00:00:00+00:00/vm-16")


@pytest.fixture
def fast(monkeypatch):
    """Time runs a hundred times faster for leases."""
    monkeypatch.setattr(leases.Lease.__init__, "__kwdefaults__", {"every": 0.02})
    monkeypatch.setattr(runs, "EXPIRES_AFTER", 0.3)
    monkeypatch.setattr(runs, "_POLL", 0.01)
    monkeypatch.setattr(leases, "_GIVES_UP_AFTER", HANG)  # because a busy machine renews late


def eventually_fenced(lease, why):
    deadline = Deadline(HANG, waiting_for="the word to stop")
    with pytest.raises(FencedError, match=why):  # noqa: PT012
        while True:
            lease.check()
            deadline.pause(0.01)


def test_notes_come_back_and_can_be_written_again(area):
    area.store("disk/2000", b"one")
    area.store("disk/2000", b"two")
    area.store_extents("extents/2000", [Extent(0, 512)])

    assert area.load("disk/2000") == b"two"
    assert area.load_extents("extents/2000") == (Extent(0, 512),)
    assert area.names() == ["disk/2000", "extents/2000"]


def test_a_note_that_is_not_there_is_named_with_its_run(area):
    with pytest.raises(NotFoundError, match=r"run scheduled.*vm-16: has no 'x'"):
        area.load("x")


def test_a_damaged_note_is_refused(area, repository):
    area.store("x", b"content")
    key = next(repository.blobs.list("runs/")).key
    blob = bytearray(repository.blobs.get(key))
    blob[-1] ^= 1
    repository.blobs.replace(key, blob)

    with pytest.raises(CorruptError, match="'x' is damaged"):
        area.load("x")


def test_runs_do_not_see_each_other(repository):
    repository.run("a").store("x", b"1")
    repository.run("a/b").fence()

    assert repository.run("b").names() == []
    assert not repository.run("a").fenced


def test_starting_again_removes_what_an_earlier_try_left_of_one_run(repository, area):
    area.store("x", b"1")
    area.fence()
    with repository.run("other").open_lease("disk"):
        pass
    area.restart()

    assert {blob.key.split("/")[1] for blob in repository.blobs.list("runs/")} == {"other"}


def test_no_copy_starts_in_a_fenced_run(area):
    area.fence()
    area.fence()

    with pytest.raises(FencedError, match="cleaned up"), area.open_lease("disk-2000"):
        pass


def test_a_copy_stops_once_the_fence_stands(area, fast):
    with area.open_lease("disk-2000") as lease:
        lease.check()
        area.fence()
        eventually_fenced(lease, "cleaned up")


def test_a_copy_that_stopped_for_the_fence_is_not_waited_for(area, fast):
    with area.open_lease("disk-2000") as lease:
        area.fence()
        eventually_fenced(lease, "cleaned up")

    assert not area.has_live_lease()
    assert area.await_copies(Deadline(HANG, waiting_for="the copy")) == 1


@pytest.mark.parametrize("removed", [False, True], ids=["released", "removed"])
def test_a_lease_that_is_given_back_during_the_look_is_no_sign_of_life(area, monkeypatch, removed):
    with ExitStack() as copy:
        copy.enter_context(area.open_lease("disk-2000", removed=removed))
        monkeypatch.setattr(runs.time, "sleep", lambda _seconds: copy.close())

        assert not area.has_live_lease()


def test_a_copy_whose_lease_was_swept_stops(area, fast):
    with area.open_lease("disk-2000") as lease:
        area.restart()
        eventually_fenced(lease, "cleaned up")


def test_of_two_attempts_the_older_stops(area, fast):
    with area.open_lease("disk-2000") as older, area.open_lease("disk-2000") as younger:
        eventually_fenced(older, "another try")
        younger.check()


def test_a_copy_that_cannot_renew_stops_before_others_think_it_dead(make, fast, monkeypatch):
    monkeypatch.setattr(leases, "_GIVES_UP_AFTER", 0.1)
    store = FaultyStore(MemoryStore())
    area = make(store).run("r")
    with pytest.raises(FencedError), area.open_lease("disk") as lease:  # noqa: PT012
        store.fail("replace", with_=StoreError("gone"), times=10**6, prefix="runs/")
        eventually_fenced(lease, "could not be renewed")
        lease.check()


def test_one_failed_renewal_is_no_reason_to_stop(make, fast):
    store = FaultyStore(MemoryStore())
    with make(store).run("r").open_lease("disk") as lease:
        store.fail("replace", with_=StoreError("once"), prefix="runs/")
        eventually(lambda: [call for call, _ in store.calls].count("replace") >= 4)
        lease.check()


def test_a_released_lease_is_not_waited_for(area):
    with area.open_lease("disk-2000"), area.open_lease("disk-2001"):
        pass
    area.fence()

    assert area.await_copies(Deadline(HANG, waiting_for="copies")) == 2


def test_a_dead_copys_lease_runs_out_by_the_observers_own_clock(area, fast):
    lease = area.open_lease("disk-2000")
    lease._write("held")  # and the process dies
    area.fence()
    started = time.monotonic()

    assert area.await_copies(Deadline(HANG, waiting_for="copies")) == 1
    assert time.monotonic() - started >= 0.3


def test_a_living_copy_is_waited_for(area, fast):
    done = threading.Event()

    def copy():
        with area.open_lease("disk-2000") as lease:
            done.set()
            eventually_fenced(lease, "cleaned up")

    thread = threading.Thread(target=copy)
    thread.start()
    done.wait()
    area.fence()
    assert area.await_copies(Deadline(HANG, waiting_for="copies")) == 1
    thread.join()


def test_waiting_for_a_copy_that_never_ends_has_an_end(area, monkeypatch):
    monkeypatch.setattr(runs, "_POLL", 0.01)
    lease = area.open_lease("disk-2000")
    lease._write("held")

    with pytest.raises(DeadlineError, match="waiting for the copies"):
        area.await_copies(Deadline(0.1, waiting_for="the copies"))
