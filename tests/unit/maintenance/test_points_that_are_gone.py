"""Points that were sealed here and are gone though no prune forgot them: noticed, told, and nothing is deleted."""

from __future__ import annotations

import shutil
from contextlib import suppress

import pytest

from tests.sealed import opened
from tests.unit.maintenance.conftest import BLOCK, NONE, NOW, AgingStore, Vault, block
from vmkeep.blobs.local import LocalStore
from vmkeep.errors import CorruptError, LockedError, StaleError, StoreError, StoreFullError
from vmkeep.flows.pointcopy import copy_points
from vmkeep.maintenance.forget import forget
from vmkeep.maintenance.healing import heal
from vmkeep.maintenance.locks import needed_packs
from vmkeep.maintenance.merge import plan_merge
from vmkeep.maintenance.plan import plan_prune
from vmkeep.maintenance.prune import execute
from vmkeep.repository.checks.findings import Trouble
from vmkeep.repository.unlock import descriptor
from vmkeep.retention import RetentionRule
from vmkeep.testing import FaultyStore, MemoryStore


class PowerCut(BaseException):
    """The process dies here."""


class Meddling(FaultyStore):
    """A store in which something else happens right before one of its calls."""

    def __init__(self, inner, at, happens):
        super().__init__(inner)
        self._at, self._happens, self.met = at, happens, False

    def _before(self, call, key):
        if len(self.calls) == self._at and not self.met:
            self.met = True
            self._happens()
        return super()._before(call, key)


@pytest.fixture
def plain():
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    return Vault(store)


def twin_of(vault):
    store = AgingStore()
    store._blobs, store._stamps = dict(vault.store._blobs), dict(vault.store._stamps)
    return Vault(store, dict(vault.held), vault.count)


def move_away(store, prefix="points/"):
    """Move blobs elsewhere, by hand; return them."""
    moved = {blob.key: store.get(blob.key) for blob in store.list(prefix)}
    for key in moved:
        store.delete(key)
    return moved


def put_back(store, moved):
    for key, content in moved.items():
        store.put(key, content)


def keys(store):
    return sorted(blob.key for blob in store.list(""))


def notes(store):
    return {blob.key.removeprefix("sealed/") for blob in store.list("sealed/")}


def assert_refused(vault, *vms, act=None):
    """Nothing is deleted, condemned or tidied up, and one line says of which VMs points are gone."""
    before = keys(vault.store)
    with pytest.raises(CorruptError) as refused:
        (act or vault.prune)()
    line = str(refused.value)
    assert "\n" not in line
    for vm in vms:
        assert vm in line
        assert f"sealed/{vm}" in line
    assert "put points/ back" in line
    assert keys(vault.store) == before


def assert_nothing_to_say(vault):
    assert vault.open().check() == []
    vault.prune()
    vault.assert_whole()


def test_a_repository_whose_points_were_moved_away_is_none_without_points(vault):
    vault.back_up([block(1), block(2)])
    vault.back_up([block(3)], vm="other")
    moved = move_away(vault.store)

    assert_refused(vault, "vm", "other")
    assert_refused(vault, "vm", "other", act=vault.plan)

    put_back(vault.store, moved)
    assert_nothing_to_say(vault)


def test_a_new_point_of_every_vm_does_not_hide_that_the_old_ones_are_gone(vault):
    vault.back_up([block(1), block(2)])
    vault.back_up([block(3)])
    vault.back_up([block(4)], vm="other")
    moved = move_away(vault.store)
    vault.back_up([block(5)])
    vault.back_up([block(6)], vm="other")

    assert_refused(vault, "vm", "other")

    put_back(vault.store, moved)
    assert_nothing_to_say(vault)


@pytest.mark.parametrize("number", range(3))
def test_a_single_point_that_is_gone_is_missed(vault, number):
    """A wrong rule of expiry takes the oldest only."""
    refs = [vault.back_up([block(at), block(at + 10)]) for at in range(1, 4)]
    moved = move_away(vault.store, f"points/{refs[number].rpartition('/')[0]}/")
    put_back(vault.store, {key: content for key, content in moved.items() if key != f"points/{refs[number]}"})

    assert_refused(vault, "vm")


def test_points_of_one_vm_alone_that_are_gone_are_missed(vault):
    vault.back_up([block(1)])
    vault.back_up([block(2)], vm="other")
    move_away(vault.store, "points/other/")

    with pytest.raises(CorruptError, match=r"of 1 VM .*other"):
        vault.plan()
    assert_refused(vault, "other")


def test_a_check_finds_each_vm_whose_points_are_gone(vault):
    first = vault.back_up([block(1)])
    last = vault.back_up([block(2)])
    vault.back_up([block(3)], vm="other")
    move_away(vault.store, "points/vm/")

    (finding,) = vault.open().check()

    assert (finding.trouble, finding.where) == (Trouble.MISSING, "points/vm/")
    for word in ("2 points", "'vm'", first.partition("/")[2], last.partition("/")[2], "sealed/vm/", "put points/"):
        assert word in finding.what


@pytest.mark.parametrize("way", ["moved", "a file", "emptied"])
def test_a_folder_of_points_that_was_moved_replaced_or_emptied_is_missed(tmp_path, way):
    (tmp_path / "repo").mkdir()
    store = LocalStore(tmp_path / "repo")
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    vault.back_up([block(1)])
    points = tmp_path / "repo" / "points"
    points.rename(tmp_path / "elsewhere")
    if way == "a file":
        points.write_bytes(b"")
    elif way == "emptied":
        points.mkdir()

    assert_refused(vault, "vm")
    assert [finding.trouble for finding in vault.open().check()] == [Trouble.MISSING]

    shutil.rmtree(points) if points.is_dir() else points.unlink(missing_ok=True)
    (tmp_path / "elsewhere").rename(points)
    assert_nothing_to_say(vault)


def test_an_old_plan_is_not_carried_out_once_points_are_gone(vault):
    vault.forget(vault.back_up([block(1)]))
    vault.back_up([block(2)])
    plan = vault.plan()
    move_away(vault.store)

    assert_refused(vault, "vm", act=lambda: execute(vault.open(), plan))


def test_points_that_go_in_the_middle_of_a_prune_stop_it_before_anything_is_deleted(vault):
    vault.forget(vault.back_up([block(1)]))
    vault.back_up([block(2)])
    packs = vault.packs
    plan = vault.plan()

    class Moving(FaultyStore):
        def put(self, key, data):
            if key.startswith("sweeps/"):
                move_away(self.inner)
            return super().put(key, data)

    with pytest.raises(CorruptError, match="put points/ back"):
        execute(vault.open(Moving(vault.store)), plan)

    assert vault.packs == packs


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda vault: plan_merge(vault.open()), id="merge"),
        pytest.param(lambda vault: heal(vault.open()), id="heal"),
        pytest.param(lambda vault: heal(vault.open(), dry_run=True), id="dry heal"),
        pytest.param(lambda vault: needed_packs(vault.open()), id="locks"),
        pytest.param(lambda vault: vault.plan(rule=RetentionRule(keep_last=1)), id="dry prune by a rule"),
        pytest.param(lambda vault: vault.prune(rule=RetentionRule(keep_last=1)), id="prune by a rule"),
    ],
)
def test_whatever_counts_on_points_refuses_without_them(vault, act):
    vault.back_up([block(1)])
    vault.back_up([block(2)])
    move_away(vault.store)
    vault.back_up([block(3)])

    assert_refused(vault, "vm", act=lambda: act(vault))


def test_many_vms_are_told_in_one_line(vault):
    for number in range(7):
        vault.back_up([block(1)], vm=f"vm-{number}")
    move_away(vault.store)

    with pytest.raises(CorruptError, match=r"7 VMs.*vm-0.*vm-1.*vm-2.*and 4 more"):
        vault.plan()


def test_the_line_tells_a_vms_name_beside_its_key_also_where_the_note_cannot_be_read(vault):
    vault.store.put("sealed/5029-ab/20261120T120000Z-0123", b"rubbish")

    with pytest.raises(CorruptError, match=r"sealed/5029-ab/"):
        vault.plan()
    vault.store.delete("sealed/5029-ab/20261120T120000Z-0123")
    vault.back_up([block(1)], vm="web 01 ü")
    move_away(vault.store)
    with pytest.raises(CorruptError, match=r"'web 01 ü' \(1 point, sealed/web%2001%20%C3%BC/\)"):
        vault.plan()


def test_points_removed_on_purpose_are_missed_no_more_once_their_notes_are_removed(vault):
    vault.back_up([block(1)])
    gone = vault.back_up([block(2)], vm="other")
    vault.store.delete(f"points/{gone}")
    assert_refused(vault, "other")

    vault.store.delete(f"sealed/{gone}")

    del vault.held[gone]
    assert vault.prune().packs_deleted > 0
    vault.assert_whole()


def test_a_point_that_is_copied_back_is_missed_no_more(vault):
    ref = vault.back_up([block(1), block(2)])
    other = AgingStore()
    descriptor.create(other, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    copy_points(vault.open(), opened(other), [ref])
    assert notes(other) == {ref}
    vault.store.delete(f"points/{ref}")

    copy_points(opened(other), vault.open(), [ref])

    assert_nothing_to_say(vault)


def test_what_a_prune_forgets_is_missed_by_nobody(vault):
    for number in range(1, 5):
        vault.back_up([block(number), block(9)])

    report = vault.prune(rule=RetentionRule(keep_last=1))

    assert len(report.points_forgotten) == 3
    vault.held = {ref: blocks for ref, blocks in vault.held.items() if ref not in report.points_forgotten}
    assert notes(vault.store) == set(vault.held)
    assert_nothing_to_say(vault)


def test_the_last_points_of_a_vm_can_be_forgotten(vault):
    ref = vault.back_up([block(1)])

    assert forget(vault.open(), [ref], bare={"vm"}) == ([ref], {})

    del vault.held[ref]
    assert notes(vault.store) == set()
    assert_nothing_to_say(vault)
    assert not vault.packs


def test_a_power_cut_at_any_write_of_forgetting_or_sealing_is_no_false_alarm(vault):
    kept = vault.back_up([block(1)])

    def dies(act):
        for after in range(100):
            twin = twin_of(vault)
            faulty = FaultyStore(twin.store)
            faulty.fail("write", after=after, times=10**6, with_=PowerCut)
            try:
                act(twin, faulty)
            except PowerCut:
                twin.held = {ref: [block(1 if ref == kept else 2)] for ref in twin.open().point_refs()}
                assert_nothing_to_say(twin)
                assert notes(twin.store) == set(twin.held)
                continue
            return after
        raise AssertionError("it never ends")

    assert dies(lambda twin, store: twin.back_up([block(2)], vm="other", store=store)) > 5
    assert dies(lambda twin, store: forget(twin.open(store), [kept], bare={"vm"})) >= 5


def test_a_prune_notes_the_points_of_programs_that_made_no_notes(vault):
    vault.back_up([block(1)])
    vault.back_up([block(2)], vm="other")
    move_away(vault.store, "sealed/")

    vault.prune()

    assert notes(vault.store) == set(vault.held)
    move_away(vault.store)
    assert_refused(vault, "vm", "other")


def test_a_seal_whose_note_cannot_be_stored_is_a_seal(vault):
    faulty = FaultyStore(vault.store)
    faulty.fail("put", prefix="sealed/", with_=StoreError("reset"))

    vault.back_up([block(1)], store=faulty)

    assert notes(vault.store) == set()
    assert_nothing_to_say(vault)


def test_a_run_that_seals_once_more_puts_the_note_that_it_had_missed(vault):
    ref = vault.back_up([block(1)])
    move_away(vault.store, "sealed/")
    repository = vault.open()

    assert repository.seal(repository.load_point(ref)) == ref

    assert notes(vault.store) == {ref}


def test_a_prune_that_has_no_room_for_notes_gives_room_all_the_same(vault):
    vault.back_up([block(1)])
    vault.forget(vault.back_up([block(2)]))
    move_away(vault.store, "sealed/")
    faulty = FaultyStore(vault.store)
    faulty.fail("put", prefix="sealed/", times=100, with_=StoreFullError("full"))

    assert vault.prune(store=faulty).packs_deleted > 0

    vault.assert_whole()


def test_a_point_that_the_store_does_not_let_go_keeps_its_note(vault):
    refs = [vault.back_up([block(number)]) for number in (1, 2)]
    faulty = FaultyStore(vault.store)
    faulty.fail("delete", prefix="points/", with_=LockedError("locked", until="2030-01-01"))

    vault.prune(rule=RetentionRule(keep_last=1), store=faulty)

    assert notes(vault.store) == set(refs)


ACTS = {
    "seal": lambda store: seal_again(store),
    "forget": lambda store: forget(opened(store), [store.point.ref], bare={"vm"}),
    "prune": lambda store: execute(opened(store), plan_prune(opened(store), None, margins=NONE, now=NOW)),
    "check": lambda store: opened(store).check(),
    "plan": lambda store: plan_prune(opened(store), None, margins=NONE, now=NOW),
}


def seal_again(store):
    with suppress(StaleError):  # the point was forgotten meanwhile: the run starts again
        opened(store).seal(store.point)


def meet(vault, act, happens, *, point=None):
    """Let something happen right before each of the calls of an act in turn; nobody raises a false alarm."""
    for at in range(500):
        twin = twin_of(vault)
        store = Meddling(twin.store, at, lambda twin=twin: happens(twin))
        store.point = point
        found = ACTS[act](store)
        assert act != "check" or found == []
        if not store.met:
            break
        twin.prune()
        assert notes(twin.store) == set(twin.open().point_refs())
    assert at > 3


@pytest.mark.parametrize("noted", [True, False], ids=["with a note", "without one yet"])
@pytest.mark.parametrize("act", list(ACTS))
def test_a_point_that_is_forgotten_at_any_call_of_another_is_no_false_alarm(plain, act, noted):
    """Either sees the other, or the note goes with its point: nobody takes a forgotten point for a lost one."""
    plain.back_up([block(1)], vm="other")
    ref = plain.back_up([block(2)])
    if not noted:
        move_away(plain.store, "sealed/vm/")

    meet(plain, act, lambda twin: forget(twin.open(), [ref], bare={"vm"}), point=plain.open().load_point(ref))


def test_a_note_that_is_put_at_any_call_of_forgetting_its_point_goes_with_it(plain):
    """A seal has put the manifest, stood still, and goes on; or it is tried again; or a prune puts what is missing."""
    plain.back_up([block(1)], vm="other")
    point = plain.open().load_point(plain.back_up([block(2)]))
    move_away(plain.store, "sealed/vm/")

    def remember(twin):
        twin.open().sealed_notes.remember(f"points/{point.ref}", "vm")

    meet(plain, "forget", remember, point=point)


@pytest.mark.parametrize("act", ["prune", "check", "plan"])
def test_a_point_that_is_sealed_at_any_call_of_another_is_no_false_alarm(plain, act):
    plain.back_up([block(1)])

    meet(plain, act, lambda twin: twin.back_up([block(1)], vm="other"))


def test_somebody_elses_files_among_the_notes_are_no_points(vault):
    vault.back_up([block(1)])
    for key in ("sealed/readme.txt", "sealed/vm/readme.txt"):
        vault.store.put(key, vault.open().framer.wrap(6, b"mine", name=key))

    vault.prune()


def test_points_of_many_vms_cost_one_listing_more():
    store = FaultyStore(MemoryStore())
    descriptor.create(store.inner, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    for number in range(20):
        vault.back_up([block(1)], vm=f"vm-{number}")
    store.calls.clear()

    vault.plan()

    touched = [call for call, key in store.calls if key.startswith("sealed/")]
    assert touched == ["list"]
