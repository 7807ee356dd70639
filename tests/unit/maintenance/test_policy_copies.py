"""The points of a policy that a second repository gets: those that it lacks, and none that it has forgotten."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import BLOCK, AgingStore, Vault, block
from tests.unit.maintenance.counted import CountedStore
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.catalog import open_catalog
from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.flows.catalogued import use_catalog
from vmkeep.flows.policy_copies import copy_until, newest_announced, points_to_copy
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.tidy import remove_dead_runs
from vmkeep.repository.notes import DUTIES
from vmkeep.repository.unlock import descriptor


@pytest.fixture
def second():
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="lz4"))
    return Vault(store)


def copy(vault, second, *, until=None):
    source, target = vault.open(), second.open()
    refs = points_to_copy(source, target, "gold")
    done = copy_until(source, target, refs, policy="gold", name="offsite", until=until, on_progress=lambda _event: None)
    return [*refs], done


def test_a_second_repository_begins_with_the_newest_point_and_then_gets_each_one_of_the_policy(vault, second):
    vault.back_up([block(1)], policy="gold")
    first = vault.back_up([block(2)], policy="gold")
    vault.back_up([block(3)], policy="other", vm="other")
    assert copy(vault, second)[0] == [first]
    later = [vault.back_up([block(number)], policy=policy) for number, policy in ((4, "gold"), (5, None), (6, "gold"))]
    refs, done = copy(vault, second)
    assert (refs, done.copied, done.failed, done.left) == ([later[0], later[2]], 2, {}, ())
    assert copy(vault, second)[0] == []
    assert sorted(second.open().point_refs()) == sorted([first, later[0], later[2]])
    assert second.open().check(read_data=True) == []
    assert second.open().load_point(first).policy == "gold"


def test_points_made_by_hand_keep_no_vm_from_its_first_copy_and_a_vm_of_another_policy_gets_none(vault, second):
    wanted = vault.back_up([block(1)], policy="gold")
    vault.back_up([block(2)], policy="gold", vm="moved")
    for number, policy, vm in ((3, None, "vm"), (4, None, "vm"), (5, "other", "moved"), (6, None, "by hand")):
        vault.back_up([block(number)], policy=policy, vm=vm)
    assert copy(vault, second)[0] == [wanted]


def test_a_point_that_the_second_repository_has_forgotten_does_not_come_back(vault, second):
    for number in range(1, 3):
        vault.back_up([block(number)], policy="gold")
        copy(vault, second)
    gone, _ = sorted(second.open().point_refs())
    second.store.delete(f"sealed/{gone}")
    second.store.delete(f"points/{gone}")
    assert copy(vault, second)[0] == []


def test_points_that_are_not_copied_in_time_follow_the_next_time(vault, second):
    refs = [vault.back_up([block(number)], policy="gold", vm=f"vm{number}") for number in range(1, 3)]
    _, done = copy(vault, second, until=now())
    assert (done.copied, done.left) == (0, tuple(refs))
    _, done = copy(vault, second, until=now() + timedelta(hours=1))
    assert (done.copied, done.left) == (2, ())


def test_a_point_that_cannot_be_read_is_told_and_follows_once_it_is_healed_though_newer_ones_were_copied(vault, second):
    vault.back_up([block(1)], policy="gold")
    copy(vault, second)
    broken, newer = (vault.back_up([block(number)], policy="gold") for number in (2, 3))
    sound = vault.store.get(f"points/{broken}")
    vault.store.replace(f"points/{broken}", b"garbage")

    for _ in range(2):  # each window tells of it anew
        _, done = copy(vault, second)
        assert list(done.failed) == [broken]
    assert newer in second.open().point_refs()
    vault.store.replace(f"points/{broken}", sound)

    assert copy(vault, second)[1].copied == 1
    assert broken in second.open().point_refs()
    assert copy(vault, second)[0] == []


def test_a_damaged_point_that_is_gone_by_the_next_window_is_asked_for_no_more(vault, second):
    vault.back_up([block(1)], policy="gold")
    copy(vault, second)
    broken = vault.back_up([block(2)], policy="gold")
    vault.store.replace(f"points/{broken}", b"garbage")
    copy(vault, second)
    vault.store.delete(f"sealed/{broken}")
    vault.store.delete(f"points/{broken}")

    assert copy(vault, second)[1].failed == {}
    assert copy(vault, second)[0] == []


def test_an_unreadable_point_of_another_policy_is_not_this_policys_trouble(vault, second):
    vault.back_up([block(1)], policy="gold")
    vault.back_up([block(2)], policy="other", vm="other")
    broken = vault.back_up([block(3)], policy="other", vm="other")
    vault.store.replace(f"points/{broken}", b"garbage")

    assert copy(vault, second)[1].failed == {}


def test_a_point_of_a_clock_that_was_ahead_does_not_keep_later_ones_from_the_second_repository(vault, second):
    vault.count = 365 * 200  # the number of a point tells its hour
    ahead = vault.back_up([block(1)], policy="gold")
    assert copy(vault, second)[0] == [ahead]
    vault.count = 0
    later = vault.back_up([block(2)], policy="gold")

    assert copy(vault, second)[0] == [later]
    assert copy(vault, second)[0] == []


def test_notes_of_what_is_still_to_be_done_outlast_every_clean_up_of_dead_runs(vault):
    repository = vault.open()
    for area in (*DUTIES, "dead-run"):
        repository.run(area).store("note", b"to be done")
    vault.store.pass_time(24 * 365)

    assert remove_dead_runs(repository, Margins(), time=vault.store.time) == 1
    assert [repository.run(area).names() for area in DUTIES] == [["note"]] * len(DUTIES)


def test_a_second_repository_that_is_the_first_one_is_refused_also_while_there_is_nothing_to_copy(vault):
    with pytest.raises(UsageError):
        copy(vault, vault)


@pytest.mark.parametrize("others", [8, 32])
def test_vms_that_the_catalog_knows_to_be_of_another_policy_cost_a_copy_no_manifest(vault, second, tmp_path, others):
    wanted = vault.back_up([block(1)], policy="gold")
    by_hand = vault.back_up([block(2)], policy="gold", vm="by hand")
    vault.back_up([block(3)], policy=None, vm="by hand")
    for number in range(others):
        vault.back_up([block(4)], policy="other", vm=f"other-{number}")
    store = CountedStore(vault.store)
    source = use_catalog(vault.open(store), lambda: f"sqlite:///{tmp_path}/catalog.db")
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        catalog.refresh(vault.open())
    store.calls.clear()

    assert set(points_to_copy(source, second.open(), "gold")) == {wanted, by_hand}

    assert store.calls["get points"] == 3, "the newest of two VMs, and the one below that of a person"


def test_the_newest_of_some_announced_points_is_found_without_a_list_of_all_points(vault):
    wanted = vault.back_up([block(1)], policy="gold")
    for number in range(20):
        vault.back_up([block(2)], policy="other", vm=f"other-{number}")
    listed = []

    class Seeing(WrappingStore):
        def list(self, prefix):
            listed.append(prefix)
            return self.inner.list(prefix)

    repository = vault.open(Seeing(vault.store))
    listed.clear()

    assert [read.name.ref for read in newest_announced(repository, [wanted])] == [wanted]

    assert listed == [f"points/{wanted.rpartition('/')[0]}/"]
