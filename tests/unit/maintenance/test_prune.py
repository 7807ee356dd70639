"""Prune: what is condemned, rewritten, swept and pardoned, and what stops it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.maintenance.conftest import BLOCK, NONE, NOW, block, described, write
from vmkeep.blobs.wrappers.wrapping import WrappingStore
from vmkeep.errors import CorruptError, LockedError, StaleError, StoreError
from vmkeep.maintenance import plan as plan_module
from vmkeep.maintenance.margins import Margins
from vmkeep.maintenance.packsweep import settle, sweep
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository import Kind
from vmkeep.repository.frames.packs import pack_key
from vmkeep.retention import PolicyRule, PolicyRules, RetentionRule
from vmkeep.testing import FaultyStore


def test_nothing_to_do_is_done_and_changes_nothing(vault):
    vault.back_up([block(1), block(2)])
    before = sorted(blob.key for blob in vault.store.list(""))

    assert vault.plan().empty
    report = vault.prune()

    assert (report.packs_deleted, report.packs_rewritten, report.packs_condemned) == (0, 0, 0)
    assert sorted(blob.key for blob in vault.store.list("")) == before
    vault.assert_whole()


def test_what_no_point_reaches_is_deleted(vault):
    vault.back_up([block(1), block(2)])
    kept = vault.packs
    gone = vault.back_up([block(3), block(4)])
    vault.forget(gone)

    report = vault.prune()

    assert vault.packs == kept
    assert report.packs_deleted == 2
    assert report.bytes_freed > 2 * BLOCK
    vault.assert_whole()


def test_a_pack_that_is_mostly_waste_is_rewritten(vault):
    vault.back_up([block(9)])
    first = vault.back_up([block(1), block(2), block(3)])
    vault.back_up([block(1)])
    vault.forget(first)

    report = vault.prune()

    assert (report.packs_rewritten, report.packs_condemned, report.packs_deleted) == (1, 1, 2)
    assert BLOCK < report.bytes_rewritten < BLOCK + 4096
    vault.assert_whole()
    assert sum(blob.size for blob in vault.store.list("packs/")) < 2 * BLOCK + 8192
    assert vault.plan().empty


def test_many_small_packs_are_put_together_and_are_not_moved_again(vault, monkeypatch):
    monkeypatch.setattr(plan_module, "_MANY", 6)
    for number in (1, 2):
        vault.back_up([block(number)])
    assert vault.plan().empty  # four packs

    vault.back_up([block(3)])
    assert vault.plan(margins=Margins()).empty  # too young
    assert vault.prune().packs_rewritten == 6

    vault.assert_whole()
    assert len(vault.packs) == 2  # blocks, and pages
    assert vault.plan().empty


def test_large_packs_are_not_put_together(vault, monkeypatch):
    monkeypatch.setattr(plan_module, "_MANY", 2)
    monkeypatch.setattr(plan_module, "_SMALL", 100)
    vault.back_up([block(1)])
    vault.back_up([block(2)])
    assert vault.plan().empty


def test_a_pack_with_little_waste_stays(vault):
    first = vault.back_up([block(1), block(2), block(3), block(4), block(5)])
    vault.back_up([block(1), block(2), block(3), block(4)])
    vault.forget(first)

    assert not vault.plan().rewritten
    assert vault.plan(margins=Margins(waste=0.1)).rewritten == {}  # too young
    assert len(vault.plan(margins=replace(NONE, waste=0.1)).rewritten) == 1


def test_a_segment_that_is_there_twice_makes_no_waste(vault):
    """A crash between the two steps of a merge, or of a sweep, leaves entries listed twice."""
    vault.back_up([block(1), block(2), block(3)])
    framer = vault.open().framer
    for blob in list(vault.store.list("index/")):
        twin = f"index/{'0' * 32}"
        content = framer.unwrap(Kind.INDEX, vault.store.get(blob.key), name=blob.key)
        vault.store.put(twin, framer.wrap(Kind.INDEX, content, name=twin))

    assert vault.plan().empty
    vault.assert_whole()


def test_planning_leaves_no_trace(vault):
    vault.forget(vault.back_up([block(1)]))
    before = sorted(blob.key for blob in vault.store.list(""))

    assert len(vault.plan().condemned) == 2

    assert sorted(blob.key for blob in vault.store.list("")) == before


def test_the_margins_are_kept(vault):
    margins = Margins(young_for=timedelta(hours=10), condemned_for=timedelta(hours=20))
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))

    vault.store.pass_time(9)
    assert vault.prune(margins=margins).packs_condemned == 0
    vault.store.pass_time(1)
    report = vault.prune(margins=margins)
    assert (report.packs_condemned, report.packs_deleted) == (2, 0)
    vault.store.pass_time(19)
    assert (vault.plan(margins=margins).waiting, vault.plan(margins=margins).swept) == (2, {})
    assert vault.prune(margins=margins).packs_deleted == 0
    vault.store.pass_time(1)
    assert len(vault.plan(margins=margins).swept) == 2
    assert vault.prune(margins=margins).packs_deleted == 2
    assert list(vault.store.list("plans/")) == []
    vault.assert_whole()


def test_a_condemned_block_is_stored_again_and_the_old_pack_goes(vault):
    margins = replace(NONE, condemned_for=timedelta(hours=20))
    vault.forget(vault.back_up([block(1), block(2)]))
    condemned = vault.packs
    vault.prune(margins=margins)
    vault.back_up([block(1), block(2)])

    vault.store.pass_time(20)
    report = vault.prune(margins=margins)

    assert (report.packs_deleted, report.packs_pardoned) == (2, 0)
    assert not vault.packs & condemned
    vault.assert_whole()


def test_what_was_condemned_and_is_reached_after_all_is_pardoned(vault):
    """A writer that had opened before the plan counts on what the plan condemns."""
    vault.forget(vault.back_up([block(1), block(2)]))
    early = vault.open()
    with early.open_writer(run="early") as out:
        vault.prune(margins=replace(NONE, condemned_for=timedelta(hours=20)))
        root = write(early, out, [block(1), block(2)])
        out.flush()
    ref = early.seal(described(root, "early", number=9, size=2 * BLOCK))
    vault.held[ref] = [block(1), block(2)]

    vault.store.pass_time(20)
    report = vault.prune()

    assert (report.packs_deleted, report.packs_pardoned) == (0, 2)
    assert list(vault.store.list("plans/")) == []
    vault.assert_whole()


def test_a_run_that_counted_on_what_was_swept_has_to_start_again(vault):
    vault.forget(vault.back_up([block(1), block(2)]))
    early = vault.open()
    with early.open_writer(run="early") as out:
        root = write(early, out, [block(1), block(2)])
        vault.prune()
        out.flush()

    with pytest.raises(StaleError):
        early.seal(described(root, "early", number=9, size=2 * BLOCK))
    vault.back_up([block(1), block(2)])
    vault.assert_whole()


def test_a_pack_of_a_killed_run_goes_too(vault):
    vault.back_up([block(1)])
    repository = vault.open()
    out = repository.open_writer(run="killed")
    write(repository, out, [block(7)] + [block(seed) for seed in range(20, 24)])
    store = FaultyStore(vault.store)
    store.fail("put", prefix="index/", with_=StoreError("down"))
    orphan = vault.open(store)
    with orphan.open_writer(run="killed-2") as late:
        write(orphan, late, [block(8)])
        with pytest.raises(StoreError):
            late.flush()
    out.__exit__(None, None, None)

    assert vault.prune().packs_deleted >= 2
    assert len(vault.packs) == 2
    vault.assert_whole()


@pytest.mark.parametrize("harm", ["manifest", "page", "lost page"])
def test_what_cannot_be_read_stops_every_deletion(vault, harm):
    ref = vault.back_up([block(1), block(2)])
    pages = vault.packs
    vault.forget(vault.back_up([block(3)]))
    for pack in pages:
        key = f"packs/{pack.hex()[:2]}/{pack.hex()}"
        if vault.store.size(key) < 4096:
            if harm == "page":
                flipped = bytearray(vault.store.get(key))
                flipped[200] ^= 1
                vault.store.replace(key, flipped)
            elif harm == "lost page":
                vault.store.delete(key)
    if harm == "manifest":
        vault.store.replace(f"points/{ref}", b"rubbish")
    before = sorted(blob.key for blob in vault.store.list(""))

    with pytest.raises(CorruptError, match="nothing is deleted"):
        vault.prune()

    assert sorted(blob.key for blob in vault.store.list("")) == before


def test_what_becomes_unreadable_after_the_plan_stops_the_sweep_and_ends_it(vault):
    ref = vault.back_up([block(1), block(2)])
    vault.forget(vault.back_up([block(3)]))
    repository, plan, packs = vault.open(), vault.plan(), vault.packs
    vault.store.replace(f"points/{ref}", b"rubbish")

    with pytest.raises(CorruptError, match="nothing is deleted"):
        execute(repository, plan)

    assert vault.packs == packs
    assert [(sweep.over, sweep.off_limits) for sweep in repository.sweep_records.sweeps()] == [(True, frozenset())]


def test_where_a_block_is_lost_packs_that_the_index_does_not_name_stay(vault):
    gone = vault.back_up([block(1)])
    (segment,) = [blob.key for blob in vault.store.list("index/")]
    vault.back_up([block(1), block(2)])
    vault.forget(gone)
    index, packs = vault.store.get(segment), vault.packs
    vault.store.delete(segment)

    assert vault.plan().condemned == {}
    report = vault.prune()

    assert (report.lost_blocks, report.packs_deleted) == (1, 0)
    assert vault.packs == packs
    vault.store.put(segment, index)
    vault.assert_whole()


def test_where_a_block_is_lost_packs_that_the_index_does_not_name_are_not_swept(vault):
    gone = vault.back_up([block(1)])
    (segment,) = [blob.key for blob in vault.store.list("index/")]
    packs = vault.packs
    vault.back_up([block(1), block(2)])
    vault.forget(gone)
    index = vault.store.get(segment)
    vault.store.delete(segment)
    vault.open().sweep_records.condemn(packs)

    report = vault.prune()

    assert (report.packs_deleted, report.packs_pardoned) == (0, len(packs))
    vault.store.put(segment, index)
    vault.assert_whole()


def test_a_damaged_frame_keeps_its_pack(vault):
    vault.back_up([block(9)])
    first = vault.back_up([block(1), block(2), block(3)])
    second = vault.back_up([block(1)])
    vault.forget(first)
    repository = vault.open()
    location = repository.index.find(repository.framer.digester.of(Kind.BLOCK, block(1)))
    key = pack_key(location.pack)
    good = vault.store.get(key)
    flipped = bytearray(good)
    flipped[location.offset + 1000] ^= 1
    vault.store.replace(key, flipped)

    report = vault.prune()

    assert list(report.packs_damaged) == [location.pack.hex()]
    assert location.pack in vault.packs
    assert location.pack not in repository.sweep_records.avoided()
    vault.store.replace(key, good)
    assert second in vault.held
    vault.assert_whole()


def test_a_rule_forgets_points_and_says_why_others_stay(vault):
    refs = [vault.back_up([block(number)]) for number in range(1, 5)]
    plan = vault.plan(rule=RetentionRule(keep_last=2))

    assert [verdict.point.ref for verdict in plan.forgotten] == refs[:2]
    assert [str(verdict.reasons[0]) for verdict in plan.verdicts if verdict.keep] == ["last 2", "last 1"]
    assert len(plan.condemned) == 4
    report = execute(vault.open(), plan)

    assert report.points_forgotten == tuple(refs[:2])
    for ref in refs[:2]:
        del vault.held[ref]
    vault.assert_whole()


def test_a_point_that_was_pinned_after_the_plan_stays_with_all_it_needs(vault):
    refs = [vault.back_up([block(number)]) for number in range(1, 4)]
    plan = vault.plan(rule=RetentionRule(keep_last=1))
    vault.open().marks.pin(refs[0], reason="court", by="me")

    report = execute(vault.open(), plan)

    assert report.points_kept == {refs[0]: "pinned"}
    del vault.held[refs[1]]
    assert report.packs_deleted == 2
    vault.assert_whole()


@pytest.mark.parametrize("kind", ["packs/", "points/", "index/"])
def test_what_the_store_does_not_let_go_is_reported_and_harms_nothing(vault, kind):
    refs = [vault.back_up([block(number)]) for number in range(1, 3)]
    store = FaultyStore(vault.store)
    store.fail("delete", prefix=kind, with_=LockedError("locked until 2027", until="2027-01-01"), times=1)

    report = vault.prune(rule=RetentionRule(keep_last=1), store=store)

    told = report.points_kept if kind == "points/" else report.locked
    assert list(told.values()) == ["locked until 2027"]
    if kind != "points/":
        del vault.held[refs[0]]
    vault.assert_whole()
    if kind == "points/":
        vault.forget(refs[0])
    vault.prune()
    assert len(vault.packs) == 2
    vault.assert_whole()


def test_two_prunes_of_one_plan_do_the_work_once(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    plan = vault.plan()

    reports = [execute(vault.open(), plan) for _ in range(2)]

    assert [report.packs_deleted for report in reports] == [2, 0]
    vault.assert_whole()


def test_a_sweep_that_died_before_it_decided_is_ended_and_one_that_had_is_finished(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    records = vault.open().sweep_records
    dead = {bytes.fromhex(pack) for pack in vault.plan().condemned}
    undecided, decided = records.begin_sweep(vault.packs), records.begin_sweep(dead)
    records.decide(decided, dead)

    vault.prune()

    over = {sweep.id: sweep.off_limits for sweep in records.sweeps() if sweep.over}
    assert (over[undecided], over[decided]) == (frozenset(), dead)
    assert len(vault.packs) == 2
    vault.assert_whole()


@pytest.mark.parametrize("name", ["readme.txt", "vm/notes", "vm/20261126T041012Z-7b77.bak/x", ".bak", "a/b/c"])
def test_a_foreign_file_among_the_points_stops_a_prune_with_advice_that_fits(vault, name):
    vault.back_up([block(1)])
    if name == ".bak":  # a point under another name
        name = vault.back_up([block(2)]).replace("Z-", "Z.bak-")
    vault.store.put(f"points/{name}", b"somebody's")

    with pytest.raises(CorruptError) as caught:
        vault.prune()

    assert f"restore point {name}: not the name of a restore point" in str(caught.value)
    assert "below points/, move it away" in str(caught.value)
    assert "delete its manifest" not in str(caught.value)


@pytest.mark.parametrize("name", ["packs/readme.txt", "packs/zz/notes"])
def test_a_foreign_file_among_the_packs_hinders_no_prune_and_stays(vault, name):
    vault.back_up([block(1), block(2)])
    vault.forget(vault.back_up([block(3), block(4)]))
    vault.store.put(name, b"somebody's")

    assert vault.prune().packs_deleted

    assert vault.store.get(name) == b"somebody's"
    vault.store.delete(name)
    vault.assert_whole()


class Ended(WrappingStore):
    """A store in which others end a sweep right before it decides."""

    def __init__(self, vault):
        super().__init__(vault.store)
        self._records = vault.open().sweep_records

    def put(self, key, data):
        if key.startswith("sweeps/") and key.endswith("/takes"):
            self._records.decide(key.split("/")[1], ())
        return super().put(key, data)


def test_a_sweep_that_others_end_before_it_decides_deletes_nothing_and_says_so(vault):
    vault.forget(vault.back_up([block(1)]))
    before = vault.packs

    report = vault.prune(store=Ended(vault))

    assert (report.given_way, report.packs_deleted, vault.packs) == (True, 0, before)
    assert all(vault.open().sweep_records.over().values())
    assert vault.prune().packs_deleted == len(before)


def test_packs_leave_the_index_before_they_go_and_plan_and_sweep_end_after_that(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    store = FaultyStore(vault.store)

    vault.prune(store=store)

    def at(verb, start, end=""):
        calls = enumerate(store.calls)
        return [n for n, (call, key) in calls if call == verb and key.startswith(start) and key.endswith(end)]

    gone = at("delete", "packs/")
    assert max(at("delete", "index/")) < min(gone)
    assert max(gone) < min(at("put", "sweeps/", "/over") + at("delete", "plans/"))


@pytest.mark.parametrize("decided", [False, True], ids=["a sweep that has not decided", "one that has"])
@pytest.mark.parametrize("theirs", [0, 1])
def test_the_only_copy_that_no_other_sweep_may_take_stays(vault, decided, theirs):
    """Two sweeps at once, of which each has one copy of a block, never count on each other's."""
    first, second = vault.open(), vault.open()
    with first.open_writer(run="run-1") as one, second.open_writer(run="run-2") as other:
        root = write(first, one, [block(1)])
        write(second, other, [block(1)])
        one.flush()
        copies = [vault.packs]
        other.flush()
        copies.append(vault.packs - copies[0])
    vault.held[vault.open().seal(described(root, "run-1", number=1, size=BLOCK))] = [block(1)]
    records = vault.open().sweep_records
    sweep_of_others = records.begin_sweep(copies[theirs])
    if decided:
        records.decide(sweep_of_others, copies[theirs])
    records.condemn(copies[1 - theirs])

    swept = sweep(vault.open(), records.plans())

    assert (swept.deleted, swept.pardoned) == (0, len(copies[1 - theirs]))
    settle(vault.open())
    vault.assert_whole()


def test_the_marks_of_a_point_go_with_it(vault):
    first, _ = (vault.back_up([block(number)]) for number in range(1, 3))
    vault.open().marks.mark_damaged(first, [])

    vault.prune(rule=RetentionRule(keep_last=1))

    assert vault.open().marks.all() == {}


def test_a_prune_goes_by_the_policy_that_a_point_names_and_not_at_all_where_that_is_not_known(vault):
    refs = [vault.back_up([block(number)], policy="gold") for number in range(1, 5)]
    by_hand = vault.back_up([block(9)])
    rule = RetentionRule(keep_last=1)
    assert vault.plan(rule=rule).forgotten == ()
    policies = PolicyRules(rules={"gold": PolicyRule(rule=RetentionRule(keep_last=3))})
    plan = plan_prune(vault.open(), rule, margins=NONE, now=NOW, policies=policies)
    assert execute(vault.open(), plan).points_forgotten == tuple(refs[:2])
    assert sorted(vault.open().point_refs()) == sorted([*refs[2:], by_hand])
