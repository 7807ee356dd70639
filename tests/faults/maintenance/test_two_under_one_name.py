"""Two processes under one name: two tries of one run, two copies of one point, two imports of one image.

At calls all over the first one the second does all of its work, and prunes without any margin follow; then the first
goes on. Whatever was sealed is whole, and who cannot be sealed is told to start again: nobody meets damage.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.faults.maintenance.test_starting_one_while_another_runs import Interrupted, _twin
from tests.sealed import remove_on_purpose, store_file
from tests.unit.maintenance.conftest import BLOCK, NONE, AgingStore, Vault, block, described, read, small_packs, write
from vmkeep.errors import StaleError
from vmkeep.flows.copy_values import CopyState
from vmkeep.flows.pointcopy import copy_points
from vmkeep.images import import_images
from vmkeep.repository import point_id
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import FaultyStore

__all__ = ["small_packs"]

AT_ONCE = replace(NONE, left_for=timedelta())
"""Nothing is left alone for any time: a run without a lease counts as dead between two of its calls."""
SHARED = [block(1), block(2), block(3)]
POSITIONS = 12


class PowerCut(BaseException):
    """The process dies here: not an ``Exception``, so no handler may tidy up after it."""


@pytest.fixture
def worn():
    """A repository in which the blocks that all of them bring are stored, and needed by nothing."""
    store = AgingStore()
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    vault = Vault(store)
    vault.back_up([block(50), block(51)])
    vault.forget(vault.back_up(SHARED))
    return vault


def prune(vault, margins):
    for _ in range(2):
        report = vault.prune(margins=margins)
        assert not report.lost_blocks
        assert not report.packs_damaged


def assert_whole(vault, held):
    """Every disk of every point reads as it was, and a check of all data finds nothing."""
    repository = vault.open()
    for ref, disks in held.items():
        images = repository.load_point(ref).images
        assert [read(repository, image.root) for image in images] == disks
    assert repository.check(read_data=True) == []


def back_up(vault, store, run, number, disks):
    """Back up some disks in steps, each of which opens the repository anew; return what was sealed."""
    begun = vault.open(store).begin_run(run)
    images = []
    for at, disk in enumerate(disks):
        repository = vault.open(store)
        with repository.open_writer(run=run, begun=begun) as out:
            root = write(repository, out, disk)
            out.flush()
        image = described(root, run, number=number, size=len(disk) * BLOCK).images[0]
        images.append(replace(image, disk=replace(image.disk, key=2000 + at, unit=at)))
    point = described(images[0].root, run, number=number, size=0)
    point = replace(point, id=point_id(f"{run} {number}", "vm"), images=tuple(images))
    return {vault.open(store).seal(point, begun=begun): disks}


def positions(first):
    """Return calls of the first process at which the second one begins."""
    counted = first(-1, lambda: None)
    return range(0, counted.calls, max(1, counted.calls // POSITIONS))


@pytest.mark.parametrize("margins", [NONE, AT_ONCE], ids=["no margins", "and nothing is left alone"])
@pytest.mark.parametrize("order", ["the second try ends", "a prune, then the second try ends", "it seals late"])
def test_two_tries_of_one_run(worn, margins, order):
    disks = [[*SHARED, block(4)], [block(3), block(5)]]
    outcomes = set()

    def first(at, happens):
        vault = Vault(_twin(worn.store), dict(worn.held), worn.count)
        held = {ref: [blocks] for ref, blocks in vault.held.items()}
        store = Interrupted(vault.store, at, lambda: happens(vault, held))
        try:
            held |= back_up(vault, store, "run", 900, disks)
            outcomes.add("sealed")
        except StaleError:
            outcomes.add("stale")
        assert_whole(vault, held)
        prune(vault, AT_ONCE)
        assert_whole(vault, held)
        return store

    def second(vault, held):
        if order.startswith("a prune"):
            prune(vault, margins)
        if order == "it seals late":
            begun = vault.open().begin_run("run")
            store_file(vault.open(), SHARED[0], run="run", begun=begun)
            prune(vault, margins)
        held |= back_up(vault, vault.store, "run", 901, [[*SHARED, block(6)]])
        prune(vault, margins)

    for at in positions(first):
        first(at, second)
    assert "sealed" in outcomes


@pytest.mark.parametrize("margins", [NONE, AT_ONCE], ids=["no margins", "and nothing is left alone"])
@pytest.mark.parametrize("second", ["ends", "ends, and its point is forgotten", "dies"])
def test_two_copies_of_one_point(worn, margins, second):
    source = Vault(_twin(worn.store), dict(worn.held), worn.count)
    ref = source.back_up([*SHARED, block(4)])
    made = AgingStore()
    descriptor.create(made, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    old = Vault(made, count=500)
    old.forget(old.back_up(SHARED))

    def copy(vault, store):
        (point,) = copy_points(source.open(), vault.open(store), [ref]).points
        assert point.state is not CopyState.FAILED, point.problem

    def first(at, happens):
        vault = Vault(_twin(old.store))
        store = Interrupted(vault.store, at, lambda: happens(vault))
        copy(vault, store)
        held = {name: [[*SHARED, block(4)]] for name in vault.open().point_refs()}
        assert held or second == "ends, and its point is forgotten"
        assert_whole(vault, held)
        prune(vault, AT_ONCE)
        assert_whole(vault, held)
        return store

    def happens(vault):
        if second == "dies" and ref not in vault.open().point_refs():
            faulty = FaultyStore(vault.store)
            faulty.fail("put", prefix="points/", with_=PowerCut)
            with pytest.raises(PowerCut):
                copy(vault, faulty)
        else:
            copy(vault, vault.store)
        if second == "ends, and its point is forgotten":
            remove_on_purpose(vault.store, ref)
        prune(vault, margins)

    for at in positions(first):
        first(at, happens)


@pytest.mark.parametrize("margins", [NONE, AT_ONCE], ids=["no margins", "and nothing is left alone"])
def test_two_imports_under_one_name(worn, margins, tmp_path):
    paths = [tmp_path / "one.raw", tmp_path / "two.raw"]
    contents = [[*SHARED, block(4)], [*SHARED, block(5)]]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(b"".join(content))
    outcomes = set()

    def bring(vault, store, number):
        return {import_images(vault.open(store), [paths[number]], name="web").ref: [contents[number]]}

    def first(at, happens):
        vault = Vault(_twin(worn.store), dict(worn.held), worn.count)
        held = {ref: [blocks] for ref, blocks in vault.held.items()}
        store = Interrupted(vault.store, at, lambda: happens(vault, held))
        try:
            held |= bring(vault, store, 0)
            outcomes.add("sealed")
        except StaleError:
            outcomes.add("stale")
        assert_whole(vault, held)
        assert [blob for blob in vault.store.list("runs/") if "/tries/" in blob.key or "/leases/" in blob.key] == []
        return store

    def second(vault, held):
        prune(vault, margins)
        held |= bring(vault, vault.store, 1)
        prune(vault, margins)

    for at in positions(first):
        first(at, second)
    assert "sealed" in outcomes
