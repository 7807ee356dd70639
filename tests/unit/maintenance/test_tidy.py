"""Remains of dead processes go once they gave no sign of life for long; no record goes that anyone may need."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import NONE, block
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import LimitReachedError, StoreError
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.storetime import store_time
from vmkeep.maintenance.tidy import forget_sweeps, remove_dead_runs
from vmkeep.model.limits import Holder, Limit
from vmkeep.repository import Kind
from vmkeep.repository.notes import tries

TWO_DAYS = Margins(left_for=timedelta(hours=48))
AT_ONCE = Margins(left_for=timedelta())


def swept(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    vault.prune()
    return vault.open()


def test_the_time_is_the_stores_and_asking_leaves_nothing(vault):
    vault.store.pass_time(100)

    assert store_time(vault.store) == vault.store.time
    assert list(vault.store.list("probes/")) == []


def test_a_probe_that_was_left_behind_goes_when_it_is_old(vault):
    vault.store.put("probes/old", b"x")
    vault.store.pass_time(2)
    vault.store.put("probes/young", b"x")

    store_time(vault.store)

    assert [blob.key for blob in vault.store.list("probes/")] == ["probes/young"]


def test_a_store_that_does_not_list_what_was_written_is_not_believed(vault, monkeypatch):
    monkeypatch.setattr(vault.store, "list", lambda _prefix: iter(()))

    with pytest.raises(StoreError, match="does not list"):
        store_time(vault.store)


def test_what_bears_a_time_of_the_future_because_a_clock_was_wrong_counts_as_old(vault):
    """Otherwise it would stay, and keep its space, until that time comes."""
    vault.store.pass_time(365 * 24)
    vault.forget(vault.back_up([block(1)]))
    vault.open().run("dead").store("note", b"x")
    vault.store.put("probes/left", b"x")
    vault.store.put("storing/dead/1", b"x")
    vault.store.put("uses/a/b/c", b"x")
    vault.store.pass_time(-365 * 24)

    vault.prune(margins=Margins())
    vault.store.pass_time(49)
    report = vault.prune(margins=Margins())

    assert report.packs_deleted
    assert [blob.key for folder in ("storing/", "uses/", "probes/") for blob in vault.store.list(folder)] == []
    assert not [blob.key for blob in vault.store.list("runs/") if "/dead/" in blob.key]


def test_an_area_without_a_young_blob_goes_as_a_whole(vault):
    dead, alive = vault.open().run("dead"), vault.open().run("alive")
    dead.store("note", b"x")
    dead.fence()
    alive.store("old", b"x")
    vault.store.pass_time(47)
    alive.store("young", b"x")
    vault.store.pass_time(1)

    assert remove_dead_runs(vault.open(), TWO_DAYS, time=vault.store.time) == 1

    assert {blob.key.split("/")[1] for blob in vault.store.list("runs/")} == {"alive"}
    assert sorted(alive.names()) == ["old", "young"]


def test_an_area_whose_lease_is_held_stays_however_short_the_margin_is(vault):
    repository = vault.open()
    with repository.at_work("import") as begun:
        vault.store.pass_time(1 / 3600)
        assert remove_dead_runs(vault.open(), AT_ONCE, time=vault.store.time) == 0
        assert tries.is_standing(vault.store, "import", begun)

    assert list(vault.store.list("runs/")) == []


def test_the_permits_of_a_copy_that_goes_on_stay_also_if_nobody_has_asked_for_longer_than_the_margin(vault):
    repository = vault.open()
    permits = repository.permits(Limit(key="nfc/host", name="NFC sessions of host esx1", most=1))
    lease = repository.run("long").open_lease("disk")
    lease._write("held")
    permits.take(Holder(owner="long/disk", run="long", what="a long copy", lease="disk"))
    vault.store.pass_time(24 * 8)
    lease._write("held")  # as it is renewed all the time

    assert remove_dead_runs(vault.open(), Margins(), time=vault.store.time) == 0
    with pytest.raises(LimitReachedError):
        permits.take(Holder(owner="other", run="other", what="another copy"))
    vault.store.pass_time(24 * 8)
    assert remove_dead_runs(vault.open(), Margins(), time=vault.store.time) == 2


def test_an_area_goes_whose_lease_was_given_back_or_has_run_out(vault):
    with vault.open().run("given back").open_lease("disk"):
        pass
    vault.open().run("dead").open_lease("disk")._write("held")
    assert remove_dead_runs(vault.open(), AT_ONCE, time=vault.store.time) == 1
    vault.store.pass_time(15 / 3600)

    assert remove_dead_runs(vault.open(), AT_ONCE, time=vault.store.time) == 1

    assert list(vault.store.list("runs/")) == []


def test_the_record_of_a_sweep_goes_when_it_is_long_past(vault):
    repository = swept(vault)
    vault.store.pass_time(47)
    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 0
    vault.store.pass_time(1)
    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 1
    assert list(vault.store.list("sweeps/")) == []


@pytest.mark.parametrize("key", ["runs/long/tries/1/begun", "runs/long/begun"], ids=["a try's", "an old program's"])
def test_the_record_of_a_sweep_stays_while_a_run_goes_on_that_began_before(vault, key):
    vault.store.put(key, vault.open().framer.wrap(Kind.NOTE, b'{"over": []}', name=key))
    repository = swept(vault)
    vault.store.pass_time(48)

    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 0
    vault.store.delete(key)
    repository.begin_run("later")
    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 1


def test_the_record_of_a_sweep_stays_while_the_index_names_what_it_took(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    dangling = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("index/")}
    vault.prune()
    repository = vault.open()
    for key, data in dangling.items():  # as a merge leaves it that read the index before the sweep
        vault.store.put(key, data)
    vault.store.pass_time(48)

    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 0
    vault.back_up([block(2)])  # does not count on the packs that are gone
    vault.assert_whole()


def test_no_record_of_a_sweep_goes_while_a_segment_cannot_be_read_because_caches_may_have_its_entries(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    dangling = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("index/")}
    vault.prune()
    rotten = dangling.keys() - {blob.key for blob in vault.store.list("index/")}
    for key in rotten:  # such a segment rots before a sweep has taken it out of the index
        vault.store.put(key, dangling[key][:-1] + bytes([dangling[key][-1] ^ 1]))
    vault.store.pass_time(48)

    assert forget_sweeps(vault.open(), TWO_DAYS, time=vault.store.time) == 0
    for key in rotten:
        vault.store.delete(key)
    assert forget_sweeps(vault.open(), TWO_DAYS, time=vault.store.time) == 1, "the index is readable again"


def test_the_record_of_a_sweep_stays_while_a_try_does_not_tell_when_it_began(vault):
    repository = swept(vault)
    vault.store.put("runs/long/tries/1/begun", b"rubbish")
    vault.store.pass_time(48)

    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 0


def test_a_sweeps_record_stays_for_a_try_that_named_what_the_sweep_took(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    named = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("index/")}
    vault.prune()
    vault.store.pass_time(48)

    class Ending(WrappingStore):
        """A store in which the last try is over as soon as somebody looks for tries."""

        def list(self, prefix):
            if prefix == "runs/":
                for key, data in named.items():
                    self.inner.put(key, data)
            return super().list(prefix)

    assert forget_sweeps(vault.open(Ending(vault.store)), TWO_DAYS, time=vault.store.time) == 0


def test_an_undecided_sweep_has_no_record_to_forget(vault):
    repository = vault.open()
    repository.sweep_records.begin_sweep(vault.packs)
    vault.store.pass_time(1000)

    assert forget_sweeps(repository, NONE, time=vault.store.time) == 0


def with_a_record_whose_pack_the_index_names(vault):
    """Return a repository with the record of a past sweep, and what its pack held: a segment has come back."""
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    dangling = {blob.key: vault.store.get(blob.key) for blob in vault.store.list("index/")}
    vault.prune()
    for key, data in dangling.items():
        vault.store.put(key, data)
    vault.store.pass_time(48)
    return vault.open()


def rewritten(vault):
    """Put each segment anew under another name and then delete it, as a merge by an older program does."""
    repository = vault.open()
    for key, _, segment in list(repository.index.stored()):
        repository.index.put(segment.columns())
        vault.store.delete(key)


@pytest.mark.parametrize("at_listing", [2, 3])  # the first one opens the repository
def test_the_record_of_a_sweep_stays_if_a_merge_replaces_segments_between_their_listing_and_their_opening(
    vault, at_listing
):
    with_a_record_whose_pack_the_index_names(vault)

    class Merging(WrappingStore):
        listings = 0

        def list(self, prefix):
            blobs = list(super().list(prefix))
            if prefix == "index/":
                self.listings += 1
                if self.listings == at_listing:
                    rewritten(vault)
            yield from blobs

    assert forget_sweeps(vault.open(Merging(vault.store)), TWO_DAYS, time=vault.store.time) == 0


def test_no_record_of_a_sweep_goes_while_segments_that_are_listed_vanish_again_and_again(vault):
    repository = swept(vault)
    vault.store.pass_time(48)

    class Merging(WrappingStore):
        def list(self, prefix):
            blobs = list(super().list(prefix))
            if prefix == "index/":
                rewritten(vault)
            yield from blobs

    assert forget_sweeps(vault.open(Merging(vault.store)), TWO_DAYS, time=vault.store.time) == 0
    assert forget_sweeps(repository, TWO_DAYS, time=vault.store.time) == 1
