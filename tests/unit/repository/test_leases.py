"""A lease whose renewal hangs or is refused stops its copy before anyone else may take it for dead."""

from __future__ import annotations

import threading
import time

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import AuthenticationError, FencedError
from vmkeep.repository import create_repository
from vmkeep.repository.notes import leases
from vmkeep.testing import FaultyStore, MemoryStore


class StandingClock:
    """The time of the leases. It goes on only when a test says so, so that a busy machine makes no lease old."""

    def __init__(self):
        self._now = 0.0

    def monotonic(self) -> float:
        return self._now

    def forward(self) -> None:
        self._now += 60


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(leases, "time", StandingClock())
    return leases.time


@pytest.fixture
def framer(tmp_path, clock):
    return create_repository(str(tmp_path / "repository")).framer


def _eventually_fenced(lease):
    end = time.monotonic() + HANG
    while time.monotonic() < end:
        lease.check()
        time.sleep(0.02)


def test_a_renewal_that_hangs_stops_the_copy(framer, clock):
    class Hanging(MemoryStore):
        def __init__(self):
            super().__init__()
            self.hangs = False
            self.hanging = threading.Event()
            self.goes_on = threading.Event()

        def get(self, key):
            if self.hangs:
                self.hanging.set()
                self.goes_on.wait(HANG)
            return super().get(key)

    store = Hanging()
    with leases.Lease(store, framer, key="runs/x/lease", fence="runs/x/fence", every=0.02) as lease:
        lease.check()
        store.hangs = True
        assert store.hanging.wait(HANG)
        lease.check()
        clock.forward()
        with pytest.raises(FencedError, match="could not be renewed for 60 s"):
            lease.check()
        store.goes_on.set()


def test_credentials_that_run_out_stop_the_copy_and_are_named(framer, clock):
    store = FaultyStore(MemoryStore())
    with leases.Lease(store, framer, key="runs/x/lease", fence="runs/x/fence", every=0.02) as lease:
        store.fail("get", with_=AuthenticationError("ExpiredToken"), times=10**6)
        asked = len(store.calls)
        eventually(lambda: len(store.calls) > asked + 4)
        lease.check()
        clock.forward()
        with pytest.raises(FencedError, match=r"could not be renewed .*: ExpiredToken"):
            lease.check()


def test_who_lost_the_lease_to_another_try_does_not_give_back_that_ones(framer):
    store = MemoryStore()
    names = {"key": "runs/x/lease", "fence": "runs/x/fence"}
    with leases.Lease(store, framer, **names, every=60) as newer_is_quiet:
        with leases.Lease(store, framer, **names, every=0.02) as older:
            newer_is_quiet._write("held")
            with pytest.raises(FencedError, match="another try"):
                _eventually_fenced(older)
        assert not leases.is_released(framer, "runs/x/lease", store.get("runs/x/lease"))
        newer_is_quiet.check()
    assert leases.is_released(framer, "runs/x/lease", store.get("runs/x/lease"))


def test_who_lost_the_lease_since_its_last_renewal_does_not_give_it_back_either(framer):
    store = MemoryStore()
    names = {"key": "runs/x/lease", "fence": "runs/x/fence"}
    older, newer = (leases.Lease(store, framer, **names, every=60) for _ in range(2))
    with newer:
        with older:
            newer._write("held")
        assert not leases.is_released(framer, "runs/x/lease", store.get("runs/x/lease"))
    assert (older.is_taken_over, newer.is_taken_over) == (True, False)


def test_each_renewal_changes_the_lease_or_it_would_be_taken_for_dead(framer):
    store = MemoryStore()
    with leases.Lease(store, framer, key="runs/x/lease", fence="runs/x/fence", every=60) as lease:
        first = store.get("runs/x/lease")
        lease._renew()
        assert store.get("runs/x/lease") != first
