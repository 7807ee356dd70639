"""A VM of which several catalogs, repositories or looks tell is one row, as the one tells that knows it best."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.unit.catalog.test_catalog import Manifests
from tests.unit.web.fleets import NOW, nightly, taken
from vmkeep.catalog import NotedVm, open_catalog
from vmkeep.flows.fleet import load_fleet
from vmkeep.web import VmState
from vmkeep.web.fleet import state_of

HOUR = timedelta(hours=1)


def entered(url: str, points: list, vms: list[NotedVm] | None = None) -> str:
    with open_catalog(url) as catalog:
        catalog.refresh(Manifests(*points))
        if vms is not None:
            catalog.overview().note("repo", location="/srv", at=NOW, marks=[], proofs=[], vms=vms)
    return url


@pytest.fixture
def urls(tmp_path) -> list[str]:
    return [f"sqlite:///{tmp_path / name}.db" for name in ("one", "two")]


def only(urls, tmp_path):
    (vm,) = load_fleet(urls, [nightly(tmp_path)], NOW).vms
    return vm


@pytest.mark.parametrize("ages", [(60, 5), (5, 60)])
def test_the_newest_point_counts_whichever_repository_has_it(urls, tmp_path, ages):
    for number, (url, age) in enumerate(zip(urls, ages, strict=True)):
        entered(url, [taken("web01", age, 10 + number)])

    vm = only(urls, tmp_path)

    assert vm.newest == NOW - 5 * HOUR
    assert (vm.points, vm.repositories) == (2, 2)
    assert state_of(vm, NOW) is VmState.IN_TIME


@pytest.mark.parametrize("first", [0, 1])
def test_the_look_that_knows_a_point_tells_of_the_vm_whichever_comes_first(urls, tmp_path, first):
    point = taken("web01", 5, 10)
    proved = int(NOW.timestamp()) - 3600
    knows = NotedVm(vm="vc/vm-1", name="web01", policy="nightly", asked=True, ref=point.ref, proved=proved)
    knows_not = NotedVm(vm="vc/vm-1", name="web01", policy="nightly", asked=True)
    entered(urls[first], [point], [knows])
    entered(urls[1 - first], [], [knows_not])

    assert only(urls, tmp_path).proved == NOW - HOUR


@pytest.mark.parametrize(("asked", "state"), [(True, VmState.ORPHANED), (False, VmState.IN_TIME)])
def test_a_vcenter_tells_that_no_policy_has_a_vm_any_more_and_points_do_not(urls, tmp_path, asked, state):
    point = taken("web01", 5, 10)
    entered(urls[0], [point], [NotedVm(vm="vc/vm-1", name="web01", policy="", asked=asked, ref=point.ref)])

    assert state_of(only(urls, tmp_path), NOW) is state
