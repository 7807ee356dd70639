"""A process that reads a point keeps it from prunes and deletions, and learns it if it came too late."""

from __future__ import annotations

import threading
from datetime import timedelta

from tests.faults.maintenance.test_pins_during_prunes import KEEP_ONE, three
from tests.faults.maintenance.test_prune_power_cuts import twin_of
from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted
from tests.patience import eventually
from tests.unit.maintenance.conftest import block, small_packs
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, PermissionDeniedError
from vmkeep.maintenance import delete_points, plan_deletion
from vmkeep.repository.notes import COUNTS_FOR, uses
from vmkeep.testing import FaultyStore
from vmkeep.transfer import open_views, read_in_order

__all__ = ["small_packs", "three"]


def begin(vault, ref, store=None):
    """Begin to use a point; return the use, or ``None`` if the point is gone."""
    use = vault.open(store).uses.open(ref, doing="serving")
    try:
        return use.__enter__()
    except NotFoundError:
        return None


def used_at(vault, ref, at):
    """Prune, and begin to use a point right before one of the prune's calls; return the use."""
    begun = []
    vault.prune(rule=KEEP_ONE, store=Interrupted(vault.store, at, lambda: begun.append(begin(vault, ref))))
    return begun[0]


def test_a_use_at_any_call_of_a_prune_keeps_the_point_or_learns_that_it_came_too_late(three, caplog):
    ref = min(three.held)
    counted = Interrupted(twin_of(three).store, -1, lambda: None)
    twin_of(three).prune(rule=KEEP_ONE, store=counted)
    outcomes = []
    for at in range(0, counted.calls, 5):
        vault = twin_of(three)
        caplog.clear()
        use = used_at(vault, ref, at)
        kept = ref in vault.open().point_refs()
        outcomes.append(kept)
        if use is not None:
            assert kept or "is deleted soon" in caplog.text
            use.__exit__(None, None, None)
        vault.prune(rule=KEEP_ONE)
        assert list(vault.store.list("uses/")) == []
        assert ref not in vault.open().point_refs()
    assert outcomes.index(False) > 2
    assert not any(outcomes[outcomes.index(False) :])


def test_a_point_in_use_stays_whatever_rule_or_person_wants_and_the_reason_is_said(three):
    ref = min(three.held)
    repository = three.open()
    three.store.time = now()

    with repository.uses.open(ref, doing="serving"):
        report = three.prune(rule=KEEP_ONE)
        plan = plan_deletion(repository, [ref])
        deletion = delete_points(repository, plan)

    assert ref not in report.points_forgotten
    assert "serving on" in deletion.points_kept[ref]
    assert plan.going == ()
    assert ref in repository.point_refs()
    assert ref in three.prune(rule=KEEP_ONE).points_forgotten


def test_the_use_of_a_dead_process_ends_by_itself(three):
    ref = min(three.held)
    use = begin(three, ref)
    use._stop.set()  # as a killed process: its note stays

    three.store.time += COUNTS_FOR - timedelta(seconds=1)
    assert ref not in three.prune(rule=KEEP_ONE).points_forgotten
    three.store.time += timedelta(seconds=1)
    assert ref in three.prune(rule=KEEP_ONE).points_forgotten

    assert list(three.store.list("uses/")) == []
    use.__exit__(None, None, None)


def test_a_disk_in_use_is_read_on_while_prunes_move_and_delete_packs(three, small_packs):
    """The other points go, so that each pack is mostly waste and is rewritten; the view finds the blocks again."""
    ref = max(three.held)
    blocks = [block(50 + number) for number in range(6)]
    for number in range(4):
        kept = three.back_up([*blocks[: number + 2], block(90 + number)], vm="other")
    repository = three.open()
    point = repository.load_point(kept)
    with (
        repository.uses.open(kept, doing="serving"),
        open_views(repository, cache_size=0) as views,
    ):
        view = views.open(point.images[0].root, what="disk")
        buffer = bytearray(view.capacity)
        view.read_into(0, memoryview(buffer))
        packs = three.packs
        three.back_up([block(7)], vm="other")
        for _ in range(3):
            three.prune(rule=KEEP_ONE)
        assert not packs <= three.packs
        again = bytearray(view.capacity)
        view.read_into(0, memoryview(again))
        assert again == buffer == b"".join(three.held[kept])
        with read_in_order(repository, point.images[0].root, what="disk") as stored:
            assert b"".join(bytes(content) for _, content in stored) == buffer
    assert ref in three.open().point_refs()


def test_a_damaged_note_of_a_use_keeps_its_point(three):
    ref = min(three.held)
    with three.open().uses.open(ref, doing="serving"):
        (note,) = three.store.list("uses/")
        three.store.replace(note.key, b"damaged")
        assert ref not in three.prune(rule=KEEP_ONE).points_forgotten


def test_a_reader_learns_that_its_point_was_deleted_while_it_stood_still(three, monkeypatch):
    monkeypatch.setattr(uses, "RENEWED_EVERY", 0.02)
    ref = min(three.held)
    with three.open().uses.open(ref, doing="serving") as use:
        use.check()
        three.forget(ref)

        def told():
            try:
                use.check()
            except NotFoundError as error:
                return str(error)
            return None

        assert ref in eventually(told)
    assert list(three.store.list("uses/")) == []


def test_a_point_that_does_not_exist_is_not_used(three):
    ref = min(three.held)
    three.forget(ref)

    assert begin(three, ref) is None

    assert list(three.store.list("uses/")) == []


def test_a_store_that_takes_no_note_is_read_all_the_same_with_a_warning(three, caplog):
    store = FaultyStore(three.store)
    store.fail("replace", with_=PermissionDeniedError("read only"), times=99)
    ref = min(three.held)

    with three.open(store).uses.open(ref, doing="serving") as use:
        use.check()

    assert "is not kept while it is in use" in caplog.text
    assert "use" not in {thread.name for thread in threading.enumerate()}
