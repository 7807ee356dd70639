"""The handshake between sealing and sweeping: fast where nothing was swept, a walk where something may have been."""

from __future__ import annotations

import random

import pytest

from vmkeep.blobs.faulty import FaultyStore
from vmkeep.errors import CorruptError, StaleError
from vmkeep.repository import Repository, sealing
from vmkeep.repository.manifests import point_id
from vmkeep.repository.packs import pack_key

BLOCK = 65536


def stored(repository, run, *, seed=1, blocks=3):
    content = random.Random(seed).randbytes(blocks * BLOCK - 5)
    root, _ = repository.store_attachment(content, run=run)
    return root


def packs(repository):
    return {bytes.fromhex(blob.key.rpartition("/")[2]) for blob in repository.blobs.list("packs/")}


def again(repository):
    return Repository(repository.blobs, repository.descriptor)


@pytest.fixture
def named(point):
    def build(root, run="run/1"):
        return point(root, id=point_id(run, "5021-ab"), run=run)

    return build


def test_without_any_sweep_a_seal_walks_nothing(repository, named):
    root = stored(repository, "run/1")
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root))

    assert sum(1 for call, key in store.calls if call == "size" and key.startswith("packs/")) == 0


def test_a_sweep_that_was_over_when_the_run_began_costs_nothing(repository, named):
    sweep = repository.plans.begin_sweep([b"x" * 16])
    repository.plans.decide(sweep, [b"x" * 16])
    repository.plans.finish_sweep(sweep)
    root = stored(repository, "run/1")
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root))

    assert not [key for call, key in store.calls if call == "size" and key.startswith("packs/")]


@pytest.mark.parametrize("begun", ["while it ran", "before, and not over"])
def test_a_point_whose_packs_a_sweep_has_taken_is_not_sealed(repository, named, begun):
    if begun == "before, and not over":
        sweep = repository.plans.begin_sweep([b"y" * 16])
    root = stored(repository, "run/1")
    if begun == "while it ran":
        sweep = repository.plans.begin_sweep(packs(repository))
    assert repository.plans.decide(sweep, packs(repository)) == packs(repository)

    with pytest.raises(StaleError, match="start the run again"):
        again(repository).seal(named(root))

    assert list(repository.points()) == []
    assert not [blob for blob in repository.blobs.list("runs/") if "/sealing/" in blob.key]


def test_a_sweep_that_has_not_decided_gives_way_to_a_seal(repository, named):
    root = stored(repository, "run/1")
    sweep = repository.plans.begin_sweep(packs(repository))

    again(repository).seal(named(root))

    assert repository.plans.decide(sweep, packs(repository)) == frozenset()


def test_a_sweep_of_other_packs_lets_a_point_be_sealed(repository, named):
    stored(repository, "other", seed=2)
    others = packs(repository)
    root = stored(repository, "run/1")
    sweep = repository.plans.begin_sweep(others)

    again(repository).seal(named(root))

    assert repository.plans.decide(sweep, others) == others


@pytest.mark.parametrize("kind", [min, max], ids=["pages", "blocks"])
def test_a_lost_pack_is_told_and_the_next_try_stores_it_again(repository, named, kind):
    root = stored(repository, "run/1")
    repository.plans.begin_sweep([b"y" * 16])
    lost = kind(repository.blobs.list("packs/"), key=lambda blob: blob.size).key
    repository.blobs.delete(lost)

    with pytest.raises(StaleError, match="gone"):
        again(repository).seal(named(root))

    other = again(repository)
    assert stored(other, "run/1") == root
    other.seal(named(root))
    assert len(list(again(repository).points())) == 1


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_run_that_does_not_say_when_it_began_is_walked(repository, named, harm):
    sweep = repository.plans.begin_sweep([b"x" * 16])
    repository.plans.decide(sweep, [])
    repository.plans.finish_sweep(sweep)
    root = stored(repository, "run/1")
    (key,) = sealing.begun_keys(repository.blobs)
    repository.blobs.delete(key) if harm == "lost" else repository.blobs.replace(key, b"rubbish")
    repository.blobs.delete(pack_key(next(iter(packs(repository)))))

    with pytest.raises((StaleError, CorruptError)):
        again(repository).seal(named(root))


def test_the_first_copy_says_when_the_run_began(repository):
    repository.begin_run("run/1")
    (key,) = sealing.begun_keys(repository.blobs)
    sweep = repository.plans.begin_sweep([])
    repository.plans.finish_sweep(sweep)
    repository.begin_run("run/1")

    assert sealing.over_at_begin(repository.blobs, repository.framer, key) == frozenset()


def test_a_run_that_starts_again_began_when_it_first_did(repository):
    repository.begin_run("run/1")
    area = repository.run("run/1")
    area.store("note", b"x")
    area.fence()
    with sealing.intent(repository.blobs, repository.framer, "run/1", "vm", ["ab"]):
        area.restart()
        assert [intent.roots for intent in sealing.intents(repository.blobs, repository.framer)] == [("ab",)]

    assert [blob.key for blob in repository.blobs.list("runs/")] == ["runs/run%2F1/begun"]


def test_an_intent_stands_while_a_point_is_sealed_and_goes_then(repository, named):
    root = stored(repository, "run/1")
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root))

    verbs = [(call, key.split("/")[0]) for call, key in store.calls if call in ("put", "delete")]
    sealed = verbs.index(("put", "points"))
    assert verbs[sealed - 1 :] == [("put", "runs"), ("put", "points"), ("delete", "runs"), ("delete", "runs")]
    assert list(repository.blobs.list("runs/")) == []  # it is over
    looked = [at for at, call in enumerate(store.calls) if call == ("list", "sweeps/")]
    declared = next(at for at, (call, key) in enumerate(store.calls) if call == "put" and "/sealing/" in key)
    assert looked[-1] > declared


def test_an_intent_that_cannot_be_read_stops_whoever_would_delete(repository):
    repository.blobs.put("runs/r/sealing/vm/1", b"rubbish")

    with pytest.raises(CorruptError, match="runs/r/sealing/vm/1"):
        list(sealing.intents(repository.blobs, repository.framer))


def test_sealing_once_more_needs_no_handshake(repository, named):
    root = stored(repository, "run/1")
    ref = repository.seal(named(root))
    repository.plans.begin_sweep(packs(repository))

    assert again(repository).seal(named(root)) == ref
