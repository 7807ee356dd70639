"""A pace holds over threads and over time, without a real clock; and nothing small ever waits."""

from __future__ import annotations

import tempfile
import threading
from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmkeep.blobs.opening import open_store
from vmkeep.blobs.wrappers.paces import change_rate
from vmkeep.blobs.wrappers.rates import RateSchedule, parse_rates
from vmkeep.blobs.wrappers.throttled import Pace, ThrottledStore
from vmkeep.blobs.wrappers.timetables import OwnTimetable
from vmkeep.errors import StoreError, UsageError
from vmkeep.testing import FaultyStore, MemoryStore

MB = 1_000_000


class Clock:
    """Time that passes only where somebody sleeps, or a call takes long."""

    def __init__(self, hour: float = 12) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []
        self._midnight = self.now - hour * 3600

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def local_time(self) -> time:
        seconds = int(self.now - self._midnight) % 86400
        return time(seconds // 3600, seconds // 60 % 60, seconds % 60)

    @property
    def elapsed(self) -> float:
        return self.now - 1000.0


class SlowStore(MemoryStore):
    """Takes its time for every put."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self._clock, self._seconds = clock, seconds

    def put(self, key, data):
        self._clock.now += self._seconds
        return super().put(key, data)


def throttled(text, clock, inner=None):
    pace = Pace(parse_rates(text), local_time=clock.local_time, monotonic=lambda: clock.now, sleep=clock.sleep)
    return ThrottledStore(MemoryStore() if inner is None else inner, pace)


def test_the_first_call_starts_at_once_and_the_next_when_it_is_paid_for():
    clock = Clock()
    store = throttled("1MB", clock)

    store.put("a", bytes(5 * MB))
    assert clock.elapsed == 0

    store.put("b", bytes(MB))
    assert clock.elapsed == pytest.approx(5)
    store.get_range("a", 0, MB)
    assert clock.elapsed == pytest.approx(6)


def test_the_time_that_a_call_takes_is_part_of_its_price():
    clock = Clock()
    store = throttled("1MB", clock, SlowStore(clock, 3.0))

    for name in "abc":
        store.put(name, bytes(4 * MB))

    assert clock.elapsed == pytest.approx(4 + 4 + 3)


def test_reading_and_writing_share_one_rate():
    clock = Clock()
    store = throttled("1MB", clock)
    store.put("a", bytes(MB))

    store.get("a")
    store.get_into("a", 0, memoryview(bytearray(MB)))
    store.put("b", bytes(MB))

    assert clock.elapsed == pytest.approx(3)


def test_idle_time_is_not_saved_up():
    clock = Clock()
    store = throttled("1MB", clock)
    store.put("a", bytes(MB))
    clock.now += 1000

    store.put("b", bytes(5 * MB))
    store.put("c", bytes(5 * MB))

    assert clock.elapsed == pytest.approx(1005)


def test_a_lease_never_waits_whatever_is_booked():
    clock = Clock()
    store = throttled("1kB", clock)
    store.put("pack", bytes(MB))

    store.replace("runs/r/leases/disk", b"beat")
    store.get("runs/r/leases/disk")
    store.put("runs/r/fence", b"fenced")
    store.size("pack")
    list(store.list(""))
    store.delete("pack")

    assert clock.sleeps == []


def test_small_calls_are_counted_although_they_do_not_wait():
    clock = Clock()
    store = throttled("1kB", clock)
    for number in range(100):
        store.put(f"small/{number}", bytes(1000))

    store.put("large", bytes(10_000))

    assert clock.elapsed == pytest.approx(100)


def test_who_waits_goes_on_soon_after_the_limit_ends():
    clock = Clock(hour=19.9)  # six minutes before the limit ends
    store = throttled("20:00-06:00=unlimited,default=1MB", clock)
    store.put("a", bytes(4000 * MB))

    store.put("b", bytes(MB))

    assert 360 <= clock.elapsed <= 360 + 20
    store.put("c", bytes(4000 * MB))
    store.put("d", bytes(MB))
    assert clock.elapsed <= 360 + 20


def test_who_waits_goes_on_soon_after_the_rate_is_changed_and_pays_by_the_new_one():
    clock = Clock()
    pace = Pace(parse_rates("1kB"), local_time=clock.local_time, monotonic=lambda: clock.now, sleep=clock.sleep)
    store = ThrottledStore(MemoryStore(), pace)
    store.put("a", bytes(10 * MB))  # the next one's slot begins in three hours
    sleep = clock.sleep

    def faster(seconds):
        sleep(seconds)
        if clock.elapsed >= 100 and not changed:
            changed.append(clock.elapsed)
            pace.change(parse_rates("1MB"), OwnTimetable())

    changed: list[float] = []
    pace._sleep = faster
    store.put("b", bytes(10 * MB))
    assert 100 <= clock.elapsed <= 104
    begun = clock.elapsed
    store.put("c", bytes(MB))
    assert clock.elapsed - begun == pytest.approx(10)


def test_who_waits_goes_on_soon_after_the_limit_is_taken_away():
    clock = Clock()
    pace = Pace(parse_rates("1kB"), local_time=clock.local_time, monotonic=lambda: clock.now, sleep=clock.sleep)
    store = ThrottledStore(MemoryStore(), pace)
    store.put("a", bytes(10 * MB))
    sleep = clock.sleep

    def free(seconds):
        sleep(seconds)
        pace.change(RateSchedule(), OwnTimetable())

    pace._sleep = free
    store.put("b", bytes(10 * MB))
    assert clock.elapsed <= 5


def test_a_call_that_fails_is_paid_for_too():
    clock = Clock()
    faulty = FaultyStore(MemoryStore())
    faulty.fail("put", with_=StoreError("reset"))
    store = throttled("1MB", clock, faulty)
    with pytest.raises(StoreError):
        store.put("a", bytes(2 * MB))

    store.put("a", bytes(2 * MB))

    assert clock.elapsed == pytest.approx(2)


@given(st.lists(st.integers(5000, 10 * MB), min_size=1, max_size=20))
def test_over_any_sequence_of_calls_the_rate_holds(sizes):
    clock = Clock()
    store = throttled("1MB", clock)
    begun = []
    for number, size in enumerate(sizes):
        store.put(f"blob/{number}", bytes(size))
        begun.append(clock.elapsed)

    for first in range(len(sizes)):
        for last in range(first, len(sizes)):
            assert sum(sizes[first:last]) <= MB * (begun[last] - begun[first]) + 1


def test_threads_share_the_rate_and_none_goes_before_its_turn():
    """On the real clock, but judged by what was booked: eight threads, 16 pieces, each a fortieth of a second."""
    began: list[float] = []
    pace = Pace(parse_rates("4MB"))

    class Noting(MemoryStore):
        def put(self, key, data):
            began.append(pace.clock())
            return super().put(key, data)

    store = ThrottledStore(Noting(), pace)
    threads = [
        threading.Thread(target=lambda name=name: [store.put(f"{name}/{n}", bytes(100_000)) for n in range(2)])
        for name in range(8)
    ]
    start = pace.clock()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(at >= start + 0.025 * turn - 0.001 for turn, at in enumerate(sorted(began)))


def test_a_store_is_opened_with_a_rate_and_a_bad_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    store = open_store(str(tmp_path), limit_rate="20:00-06:00=unlimited,default=500MiB")
    assert store.put("a", b"content") is True

    with pytest.raises(UsageError, match="rate limit"):
        open_store(str(tmp_path), limit_rate="fast")


def test_the_rate_of_an_open_store_is_changed_by_the_location_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    here, other = tmp_path / "here", tmp_path / "other"
    for folder in (here, other):
        folder.mkdir()
    given = f"file://{here}"
    stores = [open_store(given), open_store(given, limit_rate="500MiB"), open_store(str(other))]
    paces = [store.inner._pace for store in stores]

    change_rate(given, "1kB")

    slots = [[pace.book(100_000), pace.book(100_000)] for pace in paces]
    assert slots[0][1] - slots[0][0] == pytest.approx(100)
    assert slots[1][0] - slots[0][1] == pytest.approx(100), "all stores of a location share one timetable"
    assert slots[2][1] - slots[2][0] < 1
    with pytest.raises(UsageError, match="rate limit"):
        change_rate(given, "fast")
    change_rate(given, None)
    assert paces[0].book(100_000) < slots[0][1]
