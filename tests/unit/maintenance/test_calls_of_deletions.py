"""A deletion and a prune make calls in proportion to what they delete, and not to what else is there."""

from __future__ import annotations

import pytest

from tests.unit.maintenance.conftest import block
from tests.unit.maintenance.counted import calls_of
from vmkeep.clock import now
from vmkeep.maintenance.deletion import delete_points, plan_deletion


@pytest.fixture(autouse=True)
def _clock(vault):
    vault.store.time = now()


def delete(ref):
    """Return a step that deletes a point, as a person does who names it."""

    def step(repository):
        report = delete_points(repository, plan_deletion(repository, [ref]))
        assert report.points_deleted == (ref,)

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
