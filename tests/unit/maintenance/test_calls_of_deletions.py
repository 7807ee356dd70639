"""A deletion and a prune make calls in proportion to what they delete, and not to what else is there."""

from __future__ import annotations

import secrets

import pytest

from tests.crowded import CrowdedStore, most_at_once
from tests.unit.maintenance.conftest import NONE, block
from tests.unit.maintenance.counted import calls_of
from vmkeep.clock import now
from vmkeep.maintenance.deletion import delete_points, plan_deletion
from vmkeep.maintenance.healing import _Healing
from vmkeep.maintenance.tidy import forget_sweeps, remove_dead_forgettings, remove_dead_runs
from vmkeep.repository.notes import PackDamage, PackState


@pytest.fixture(autouse=True)
def _clock(vault):
    vault.store.time = now()


def delete(*refs):
    """Return a step that deletes points, as a person does who names them."""

    def step(repository):
        report = delete_points(repository, plan_deletion(repository, refs))
        assert report.points_deleted == refs

    return step


@pytest.mark.parametrize("pinned", [2, 20])
def test_a_deletion_reads_the_marks_of_its_vm_alone_and_each_once_a_look(vault, pinned):
    ref, other = (vault.back_up([block(seed)]) for seed in (1, 2))
    marks = vault.open().marks
    for vm in range(pinned):
        marks.pin(vault.back_up([block(1)], vm=f"other{vm}"), reason="court", by="me")
    marks.pin(other, reason="court", by="me")

    calls = calls_of(vault, delete(ref))

    assert calls["get marks"] == 2 + 1, "that pin when it was planned and when it was recorded, and the point's own"


def test_marks_cost_one_call_for_each_that_is_there(vault):
    first, second = (vault.back_up([block(seed)]) for seed in (1, 2))
    marks = vault.open().marks
    marks.pin(first, reason="court", by="me")
    marks.suspect(second, "Hard disk 1", reason="tracking lied")
    marks.mark_damaged(second, [])
    vault.back_up([block(3)])

    calls = calls_of(vault, lambda repository: repository.marks.all())

    assert calls == {"list marks": 1, "get marks": 3}


@pytest.mark.parametrize("vms", [2, 20])
def test_the_marks_and_points_of_some_vms_are_those_of_all_of_these(vault, vms):
    refs = [vault.back_up([block(1)], vm=f"{vm:02}" * 90) for vm in range(vms + 1)]
    repository = vault.open()
    for ref in refs:
        repository.marks.pin(ref, reason="court", by="me")
    keys = {ref.rpartition("/")[0] for ref in refs[1:]}

    assert set(repository.marks.of_vms(keys)) == set(refs[1:])
    assert {name.ref for name in repository.manifests.names_of(keys)} == set(refs[1:])


def test_a_point_that_is_deleted_costs_a_look_at_its_pin_three_deletes_and_four_listings(vault):
    refs = [vault.back_up([block(1)]) for _ in range(30)]

    few, many = (calls_of(vault, delete(*named)) for named in (refs[:2], refs[2:20]))

    few["get points"] = many["get points"] = 0  # the points of the VM, which there are fewer of then
    assert {call: count // 16 for call, count in (many - few).items()} == {
        "get marks": 1,
        "delete sealed": 2,
        "delete points": 1,
        "list marks": 1,
        "list proofs": 1,
        "list uses": 1,
        "list files": 1,
    }


def test_points_are_deleted_many_at_a_time(vault):
    refs = [vault.back_up([block(1)]) for _ in range(20)]

    def step(store):
        delete(*refs[:16])(vault.open(store))

    assert most_at_once(vault.store, "marks/", step, wanted=16) == 16


class CrowdedDeletes(CrowdedStore):
    """Deletes wait for each other, and reads do not."""

    def get(self, key):
        return self.inner.get(key)

    def delete(self, key):
        with self._crowd(key):
            super().delete(key)


def test_what_is_left_of_dead_runs_prunes_and_sweeps_is_removed_many_at_a_time(vault):
    repository = vault.open()
    for number in range(16):
        repository.run(f"dead-{number}").store("note", b"")
        repository.forgettings.begin(["vm/20260101T000000Z-0000000000000000"])
        sweep = repository.sweep_records.begin_sweep([])
        repository.sweep_records.decide(sweep, [])
        repository.sweep_records.finish_sweep(sweep)
    vault.store.pass_time(hours=24 * 8)

    for area, remove in (
        ("runs/", remove_dead_runs),
        ("forgettings/", remove_dead_forgettings),
        ("sweeps/", forget_sweeps),
    ):
        store = CrowdedDeletes(vault.store, area, wanted=16)
        assert remove(vault.open(store), NONE, time=vault.store.time) == 16
        assert store.most == 16
        assert not list(vault.store.list(area))


def test_notes_of_damage_that_is_gone_are_removed_many_at_a_time(vault):
    for _ in range(16):
        note = PackDamage(pack=secrets.token_hex(16), state=PackState.LOST, reason="there is no such pack")
        vault.open().damage.remember(note, before=None)
    store = CrowdedDeletes(vault.store, "damage/", wanted=16)

    assert vault.open(store).check() == []

    assert store.most == 16
    assert not list(vault.store.list("damage/"))


def test_a_healing_reads_manifests_many_at_a_time(vault):
    for number in range(20):
        vault.back_up([block(1)], vm=f"vm{number}")

    def walk(store):
        _Healing(vault.open(store), None, None).run(lambda _progress: None)

    assert most_at_once(vault.store, "points/", walk, wanted=16) == 16
