"""A limit is never passed, by any number of processes, and a dead holder does not keep its permit."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.crowded import most_at_once
from tests.unit.maintenance.counted import CountedStore
from vmkeep import clock
from vmkeep.blobs import LocalStore
from vmkeep.errors import ConflictError, DeadlineError, LimitReachedError
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository import create_repository
from vmkeep.repository.notes import Permits, RunArea, permitqueue, permitslots, usages
from vmkeep.repository.notes.permitarea import PermitArea
from vmkeep.testing import MemoryStore

LIMIT = Limit(key="nfc/vc/host-1", name="NFC sessions of host esx1", most=2)


@pytest.fixture
def framer(tmp_path):
    return create_repository(str(tmp_path / "repository")).framer


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "repository")


def of_run(name: str) -> Holder:
    return Holder(owner=name, run=name, what=f"copy of {name}")


def age(tmp_path, seconds: float, part: str = "") -> None:
    """Let all notes of runs be older, as the store's clock tells it."""
    for path in (tmp_path / "repository" / "runs").rglob("*"):
        if path.is_file() and part in str(path):
            then = path.stat().st_mtime - seconds
            os.utime(path, (then, then))


def test_no_more_permits_are_held_than_the_limit_allows(store, framer):
    limited = Permits(store, framer, LIMIT)
    limited.take(of_run("a"))
    limited.take(of_run("b"))
    with pytest.raises(
        LimitReachedError, match=r"waits for NFC sessions of host esx1: 2 of 2 are in use \(copy of a, cop"
    ):
        limited.take(of_run("c"))


def test_a_permit_that_is_given_back_is_taken_by_the_one_that_waited_longest(store, framer):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    for name in "cd":
        with pytest.raises(LimitReachedError):
            limited.take(of_run(name))
    limited.give_back("a")
    with pytest.raises(LimitReachedError, match="1 other asked before"):
        limited.take(of_run("d"))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("e"))
    limited.take(of_run("c"))
    limited.give_back("b")
    limited.take(of_run("d"))
    assert limited.usage().holders == ("copy of c", "copy of d")
    assert limited.usage().waiting == ("copy of e",)


def test_a_second_try_keeps_the_permit_of_the_first(store, framer):
    limited = Permits(store, framer, LIMIT)
    limited.take(of_run("a"))
    limited.take(of_run("b"))
    limited.take(of_run("a"))
    assert len(limited.usage().holders) == 2


def test_a_party_that_asks_no_more_is_not_waited_for(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("gone"))
    age(tmp_path, permitqueue.COMES_AGAIN.total_seconds() + 61, "waiting")
    limited.give_back("a")
    limited.take(of_run("c"))
    assert limited.usage().waiting == ()


def test_a_party_that_finds_no_room_for_a_day_gives_up_and_leaves_the_queue(store, framer, monkeypatch):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr(permitqueue, "now", lambda: tomorrow)
    with pytest.raises(DeadlineError, match="gave up after 86400 s waiting for NFC sessions of host esx1"):
        limited.take(of_run("c"))
    assert limited.usage().waiting == ()


def test_a_party_that_finds_no_worker_for_a_time_has_its_place_in_the_queue_afterwards(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    for name in "abcd":
        with suppress(LimitReachedError):
            limited.take(of_run(name))
    age(tmp_path, permitqueue.COMES_AGAIN.total_seconds() + 61, "waiting")
    with pytest.raises(LimitReachedError):
        limited.take(of_run("d"))
    assert limited.usage().waiting == ("copy of d",)
    limited.give_back("a")
    limited.take(of_run("c"))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("d"))


def test_a_dead_party_and_a_dead_holder_are_not_listed_though_nobody_asks(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    RunArea(store, framer, "r").open_lease("disk-1")._write("held")  # the holder dies here
    limited.take(Holder(owner="r/1", run="r", what="copy 1", lease="disk-1"))
    limited.take(of_run("b"))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    age(tmp_path, 3600)
    (usage,) = usages(store, framer)
    assert (usage.holders, usage.waiting) == (("copy of b",), ())


def test_a_copy_s_permit_ends_with_its_lease(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    area = RunArea(store, framer, "r")
    with area.open_lease("disk-1"):
        limited.take(Holder(owner="r/1", run="r", what="copy 1", lease="disk-1"))
        limited.take(of_run("b"))
        with pytest.raises(LimitReachedError):
            limited.take(of_run("c"))
    limited.take(of_run("c"))


def test_a_dead_copy_s_permit_is_free_once_its_lease_has_expired(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    lease = RunArea(store, framer, "r").open_lease("disk-1")
    lease._write("held")  # the holder dies here: nobody renews the lease, and nobody gives it back
    limited.take(Holder(owner="r/1", run="r", what="copy 1", lease="disk-1"))
    limited.take(of_run("b"))
    age(tmp_path, permitslots.LEASE_LASTS.total_seconds() - 10, "leases")
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    age(tmp_path, 11, "leases")
    limited.take(of_run("c"))


def test_a_dead_run_s_permit_is_free_hours_after_its_last_sign_of_life(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    limited.take(of_run("a"))
    limited.take(of_run("b"))
    age(tmp_path, permitslots.RUN_LASTS.total_seconds() + 1)
    RunArea(store, framer, "b").store("note", b"alive")
    limited.take(of_run("c"))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("d"))
    assert set(limited.usage().holders) == {"copy of b", "copy of c"}


def test_a_dead_holder_whose_notes_bear_times_of_the_future_keeps_no_permit(store, framer, tmp_path):
    """The store's clock was ahead when it worked, and was put back since."""
    limited = Permits(store, framer, LIMIT)
    RunArea(store, framer, "r").open_lease("disk-1")._write("held")  # the holder dies here
    limited.take(Holder(owner="r/1", run="r", what="copy 1", lease="disk-1"))
    limited.take(of_run("b"))
    age(tmp_path, -permitslots.LEASE_LASTS.total_seconds() / 2)
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    age(tmp_path, -2 * permitslots.RUN_LASTS.total_seconds())

    limited.take(of_run("c"))
    limited.take(of_run("d"))

    assert set(limited.usage().holders) == {"copy of c", "copy of d"}


def test_a_dead_run_of_which_only_a_note_bears_a_time_of_the_future_keeps_no_permit(store, framer, tmp_path):
    limited = Permits(store, framer, replace(LIMIT, most=1))
    limited.take(of_run("dead"))
    RunArea(store, framer, "dead").store("note", b"written while the clock was ahead")
    age(tmp_path, permitslots.RUN_LASTS.total_seconds() + 1, "slots")
    age(tmp_path, -permitslots.RUN_LASTS.total_seconds() / 2, "/dead/")
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    age(tmp_path, -permitslots.RUN_LASTS.total_seconds(), "/dead/")

    limited.take(of_run("c"))

    assert limited.usage().holders == ("copy of c",)


def test_a_party_whose_ticket_bears_a_time_of_the_future_holds_nobody_up(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("dead"))
    age(tmp_path, -permitqueue.GIVES_UP_AFTER.total_seconds() * 2, "waiting")
    limited.give_back("a")
    assert limited.room() == 1

    limited.take(of_run("c"))
    limited.give_back("b")
    limited.take(of_run("d"))

    assert "waiting" not in " ".join(blob.key for blob in store.list("runs/"))


def test_a_party_that_asked_first_by_a_clock_that_was_ahead_gives_up_after_a_day_all_the_same(
    store, framer, monkeypatch
):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    right = clock.now()
    monkeypatch.setattr(permitqueue, "now", lambda: right + timedelta(days=100))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    monkeypatch.setattr(permitqueue, "now", lambda: right)
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    monkeypatch.setattr(permitqueue, "now", lambda: right + permitqueue.GIVES_UP_AFTER)

    with pytest.raises(DeadlineError):
        limited.take(of_run("c"))


def test_a_lower_limit_counts_the_permits_that_are_held_beyond_it(store, framer):
    Permits(store, framer, LIMIT).take(of_run("a"))
    Permits(store, framer, LIMIT).take(of_run("b"))
    lower = Permits(store, framer, Limit(key=LIMIT.key, name=LIMIT.name, most=1))
    Permits(store, framer, LIMIT).give_back("a")
    with pytest.raises(LimitReachedError):
        lower.take(of_run("c"))


def test_a_party_that_was_stopped_between_look_and_take_withdraws(store, framer, tmp_path):
    class Stopped(LocalStore):
        def put(self, key, data):
            if "/slots/" in key and not meanwhile:
                meanwhile.append(key)
                for name in "ab":  # a slot is taken and given back, and then taken again
                    others.take(of_run(name))
                    if name == "a":
                        others.give_back(name)
                self.delete(key)
            return super().put(key, data)

    meanwhile: list[str] = []
    one = Limit(key="k", name="n", most=1)
    others = Permits(store, framer, one)
    with pytest.raises(LimitReachedError):
        Permits(Stopped(tmp_path / "repository"), framer, one).take(of_run("late"))
    assert others.usage().holders == ("copy of b",)


def test_twenty_parties_at_once_never_hold_more_than_the_limit_and_all_get_their_turn(store, framer):
    limit = Limit(key="nfc/vc/host-2", name="NFC sessions of host esx2", most=4)
    lock, holding, most = threading.Lock(), set(), []

    def work(name: str) -> None:
        mine = Permits(store, framer, limit)
        while True:
            try:
                mine.take(of_run(name))
            except LimitReachedError:
                time.sleep(0.005)
                continue
            with lock:
                holding.add(name)
                most.append(len(holding))
            time.sleep(0.002)
            with lock:
                holding.discard(name)
            mine.give_back(name)
            return

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, [f"r{number}" for number in range(20)]))
    assert max(most) <= 4
    assert len(most) == 20
    assert usages(store, framer)[0].holders == ()


def test_the_room_is_what_is_free_and_not_waited_for_and_dead_parties_take_none(store, framer, tmp_path):
    limited = Permits(store, framer, LIMIT)
    assert limited.room() == 2
    lease = RunArea(store, framer, "r").open_lease("disk-1")
    lease._write("held")  # the holder dies here
    limited.take(Holder(owner="r/1", run="r", what="copy 1", lease="disk-1"))
    assert limited.room() == 1
    limited.take(of_run("b"))
    with pytest.raises(LimitReachedError):
        limited.take(of_run("c"))
    limited.give_back("b")
    assert limited.room() == 0
    age(tmp_path, 3600, "leases")
    assert limited.room() == 1
    age(tmp_path, 3600, "waiting")
    assert limited.room() == 2


def test_without_room_by_another_limit_a_party_waits_in_its_turn(store, framer):
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        with pytest.raises(LimitReachedError, match="0 of 2 are in use, and the work that it is for could not begin"):
            limited.take(of_run(name), room=0)
    with pytest.raises(LimitReachedError):
        limited.take(of_run("b"), room=1)
    limited.take(of_run("a"), room=1)
    limited.take(of_run("b"), room=1)


def test_the_use_of_every_limit_is_listed(store, framer):
    Permits(store, framer, LIMIT).take(of_run("a"))
    Permits(store, framer, Limit(key="x", name="Snapshots on ds1", most=1)).take(of_run("b"))
    assert [(use.limit.name, use.limit.most, use.holders) for use in usages(store, framer)] == [
        ("NFC sessions of host esx1", 2, ("copy of a",)),
        ("Snapshots on ds1", 1, ("copy of b",)),
    ]


def test_a_permit_that_cannot_be_read_counts_as_held(store, framer):
    one = Limit(key="k", name="n", most=1)
    limited = Permits(store, framer, one)
    limited.take(of_run("a"))
    (blob,) = [blob for blob in store.list("runs/") if "/slots/" in blob.key]
    store.replace(blob.key, b"damaged")
    with pytest.raises(LimitReachedError):
        limited.take(of_run("b"))
    with pytest.raises(ConflictError):
        store.put(blob.key, b"other")


def waiting(limited, name):
    with pytest.raises(LimitReachedError) as reached:
        limited.take(of_run(name))
    return reached.value


@pytest.mark.parametrize("hours", [-48, -1, 1, 48])
def test_a_party_whose_clock_is_wrong_waits_behind_those_who_asked_before_and_in_front_of_later_ones(
    store, framer, monkeypatch, hours
):
    limited = Permits(store, framer, replace(LIMIT, most=1))
    limited.take(of_run("a"))
    waiting(limited, "b")
    with monkeypatch.context() as patch:
        patch.setattr(permitqueue, "now", lambda: clock.now() + timedelta(hours=hours))
        waiting(limited, "wrong")
    waiting(limited, "c")

    assert limited.usage().waiting == ("copy of b", "copy of wrong", "copy of c")
    limited.give_back("a")
    assert "2 others asked before" in str(waiting(limited, "c"))


def test_damaged_permits_and_tickets_hold_up_nobody_for_ever_and_are_told_in_words(store, framer, tmp_path):
    limited = Permits(store, framer, replace(LIMIT, most=1))
    limited.take(of_run("a"))
    waiting(limited, "b")
    area = next((tmp_path / "repository" / "runs").glob("permits-*"))
    for path in (*area.glob("slots/*/*"), *area.glob("waiting/*")):
        path.write_bytes(b"garbage")
    (ticket,) = area.glob("waiting/*")
    ticket.rename(ticket.with_name(f"elsewhere-{ticket.name.partition('-')[2]}"))

    assert "work that is not known, because its note is damaged" in str(waiting(limited, "b"))
    age(tmp_path, permitslots.RUN_LASTS.total_seconds() + 1, "slots")
    limited.take(of_run("b"))

    assert limited.usage().holders == ("copy of b",)


def test_a_list_of_limits_shows_the_number_that_counts_now(store, framer):
    big, small = (Permits(store, framer, replace(LIMIT, most=most)) for most in (3, 1))
    for name in "abc":
        big.take(of_run(name))
    for name in "abc":
        big.give_back(name)
    small.take(of_run("d"))

    (usage,) = usages(store, framer)

    assert (usage.limit.most, usage.holders) == (1, ("copy of d",))


def with_a_queue(store, framer, length):
    """Let two runs hold the permits of a limit, and others wait."""
    limited = Permits(store, framer, LIMIT)
    for name in "ab":
        limited.take(of_run(name))
    for number in range(length):
        waiting(limited, f"waiting-{number}")


@pytest.mark.parametrize("length", [1, 12])
def test_a_list_of_limits_reads_each_ticket_once(store, framer, length):
    with_a_queue(store, framer, length)
    counted = CountedStore(store)

    (usage,) = usages(counted, framer)

    assert len(usage.waiting) == length
    assert counted.calls["get runs"] == length + 2 + 1  # the tickets, the permits, and the newest note for its limit


def test_a_list_of_limits_reads_the_tickets_of_a_remote_store_side_by_side(framer):
    store = MemoryStore()
    with_a_queue(store, framer, 12)
    queue = f"{PermitArea(store, framer, LIMIT).prefix}waiting/"
    assert most_at_once(store, queue, lambda remote: usages(remote, framer), wanted=8, ahead=1) == 8
