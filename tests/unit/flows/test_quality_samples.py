"""The sample of a check of data quality: how often the catalog is updated does not grow with the VMs."""

from __future__ import annotations

import pytest

from vmkeep.errors import CorruptError
from vmkeep.flows.quality_evidence import take_sample


class Points:
    """A repository and a catalog that hold the names of the points of some VMs."""

    def __init__(self, vms: int) -> None:
        self.there = {f"vm{number}": {f"vm{number}/good", f"vm{number}/unreadable"} for number in range(vms)}
        self.here = {key: {f"{key}/good"} for key in self.there}
        self.refreshed = 0

    def newest(self):
        return [(key, key, "", f"{key}/good", 0) for key in self.there]

    def point_refs(self, vm_key):
        return list(self.there[vm_key])

    def refs_of(self, vm_key):
        return set(self.here[vm_key])

    def load_points(self, refs):
        return [(ref, CorruptError("damaged")) for ref in refs]

    def refresh(self):
        self.refreshed += 1
        self.here = {key: self.here[key] & refs for key, refs in self.there.items()}


@pytest.mark.parametrize("vms", [1, 4, 16])
def test_points_that_cannot_be_read_let_a_sample_update_the_catalog_once_however_many_vms_have_one(vms):
    points = Points(vms)

    sample = take_sample(points, points, points.refresh)

    assert points.refreshed == 1
    assert {point.problem for point in sample.points} == {"damaged"}
    assert {point.ref for point in sample.points} >= {f"vm{number}/unreadable" for number in range(vms)}


def test_a_point_that_is_removed_during_the_update_is_no_finding():
    points = Points(4)
    points.here = {key: set(refs) for key, refs in points.there.items()}
    points.here["vm1"].add("vm1/removed before")

    class Pruned(Points):
        """A prune removes a point of another VM while the catalog is updated."""

        def refresh(self):
            super().refresh()
            if self.refreshed == 1:
                self.there["vm1"].discard("vm1/good")

    pruned = Pruned(4)
    pruned.here = points.here

    sample = take_sample(pruned, pruned, pruned.refresh)

    assert pruned.refreshed == 2
    assert "the catalog has it, and the repository does not" not in {point.problem for point in sample.points}


def test_a_point_that_the_catalog_has_and_no_update_removes_is_a_finding():
    points = Points(1)
    points.here["vm0"].add("vm0/gone")
    points.refresh = lambda: None

    sample = take_sample(points, points, points.refresh)

    assert {point.ref: point.problem for point in sample.points}["vm0/gone"].startswith("the catalog has it")
