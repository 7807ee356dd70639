"""The handshake between sealing and sweeping: fast where nothing was swept, a walk where something may have been."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.sealed import store_file
from vmkeep.errors import CorruptError, LockedError, StaleError
from vmkeep.maintenance import noting
from vmkeep.repository import Repository
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.notes import tries
from vmkeep.repository.points.manifests import point_id
from vmkeep.repository.sealing import handshake
from vmkeep.testing import FaultyStore

BLOCK = 65536


def stored(repository, run, *, seed=1, blocks=3, begun=None):
    content = random.Random(seed).randbytes(blocks * BLOCK - 5)
    root, _ = store_file(repository, content, run=run, begun=begun)
    return root


def packs(repository):
    return {bytes.fromhex(blob.key.rpartition("/")[2]) for blob in repository.blobs.list("packs/")}


def again(repository):
    return Repository(repository.blobs, repository.descriptor)


@pytest.fixture
def named(point):
    def build(*roots, run="run/1", hours=0):
        """A point of a run; another try of the run seals another one, of another time."""
        taken_at = point().taken_at + timedelta(hours=hours)
        return point(*roots, id=point_id(f"{run} {hours}", "5021-ab"), taken_at=taken_at, run=run)

    return build


def walked(store):
    """Whether a seal through this store has asked for packs one by one."""
    return any(call == "size" and key.startswith("packs/") for call, key in store.calls)


def test_without_any_sweep_a_seal_walks_nothing(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert not walked(store)


def test_a_seal_that_is_not_told_when_its_try_began_walks_though_no_sweep_is_listed(repository, named):
    repository.begin_run("run/1")
    root = stored(repository, "run/1")
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root))

    assert walked(store)


@pytest.mark.parametrize("harm", ["lost", "damaged"])
def test_a_seal_whose_try_does_not_say_when_it_began_walks_though_no_sweep_is_listed(repository, named, harm):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    (key,) = tries.begun_keys(repository.blobs)
    repository.blobs.delete(key) if harm == "lost" else repository.blobs.replace(key, b"rubbish")
    repository.begin_run("run/1")  # another try of that run, which began later
    for pack in packs(repository):
        repository.blobs.delete(pack_key(pack))

    with pytest.raises(StaleError, match="gone"):
        again(repository).seal(named(root), begun=begun)

    assert list(repository.points()) == []


def test_a_sweep_that_was_over_when_the_run_began_costs_nothing(repository, named):
    sweep = repository.sweep_records.begin_sweep([b"x" * 16])
    repository.sweep_records.decide(sweep, [b"x" * 16])
    repository.sweep_records.finish_sweep(sweep)
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert not walked(store)


@pytest.mark.parametrize("begun", ["while it ran", "before, and not over"])
def test_a_point_whose_packs_a_sweep_has_taken_is_not_sealed(repository, named, begun):
    if begun == "before, and not over":
        sweep = repository.sweep_records.begin_sweep([b"y" * 16])
    attempt = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=attempt)
    if begun == "while it ran":
        sweep = repository.sweep_records.begin_sweep(packs(repository))
    assert repository.sweep_records.decide(sweep, packs(repository)) == packs(repository)

    with pytest.raises(StaleError, match="start the run again"):
        again(repository).seal(named(root), begun=attempt)

    assert list(repository.points()) == []
    assert not [blob for blob in repository.blobs.list("runs/") if "/sealing/" in blob.key]


def test_a_sweep_that_has_not_decided_gives_way_to_a_seal(repository, named):
    root = stored(repository, "run/1")
    sweep = repository.sweep_records.begin_sweep(packs(repository))

    again(repository).seal(named(root))

    assert repository.sweep_records.decide(sweep, packs(repository)) == frozenset()


class DecidedJustNow(FaultyStore):
    """A store in which a sweep decides right before somebody else decides in its place."""

    def __init__(self, inner, decide):
        super().__init__(inner)
        self._decide = decide

    def put(self, key, data):
        if key.startswith("sweeps/"):
            self._decide()
        return super().put(key, data)


def test_a_sweep_that_decides_before_a_seal_can_stop_it_leaves_no_point_to_seal(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    sweep = repository.sweep_records.begin_sweep(packs(repository))
    store = DecidedJustNow(repository.blobs, lambda: repository.sweep_records.decide(sweep, packs(repository)))

    with pytest.raises(StaleError):
        Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert list(repository.points()) == []


def test_a_sweep_of_other_packs_lets_a_point_be_sealed(repository, named):
    stored(repository, "other", seed=2)
    others = packs(repository)
    root = stored(repository, "run/1")
    sweep = repository.sweep_records.begin_sweep(others)

    again(repository).seal(named(root))

    assert repository.sweep_records.decide(sweep, others) == others


@pytest.mark.parametrize("kind", [min, max], ids=["pages", "blocks"])
def test_a_lost_pack_is_told_and_the_next_try_stores_it_again(repository, named, kind):
    root = stored(repository, "run/1")
    repository.sweep_records.begin_sweep([b"y" * 16])
    lost = kind(repository.blobs.list("packs/"), key=lambda blob: blob.size).key
    repository.blobs.delete(lost)

    with pytest.raises(StaleError, match="gone"):
        again(repository).seal(named(root))

    other = again(repository)
    assert stored(other, "run/1") == root
    other.seal(named(root))
    assert len(list(again(repository).points())) == 1


def test_each_try_of_a_run_says_for_itself_when_it_began(repository):
    first = repository.begin_run("run/1")
    sweep = repository.sweep_records.begin_sweep([])
    repository.sweep_records.finish_sweep(sweep)
    second = repository.begin_run("run/1")

    over = {key.split("/")[3]: tries.over_at_begin(repository.blobs, repository.framer, key)
            for key in tries.begun_keys(repository.blobs)}  # fmt: skip
    assert over == {first: frozenset(), second: frozenset((sweep,))}


def test_the_late_seal_of_a_first_try_takes_nothing_from_a_second_one(repository, named):
    """The second one's first disk counts on a pack that a prune takes then; its second disk is copied after that."""
    first = repository.begin_run("run/1")
    late = stored(repository, "run/1", seed=1, begun=first)
    second = repository.begin_run("run/1")
    disks = [stored(repository, "run/1", seed=2, begun=second)]
    lost = packs(repository)
    again(repository).seal(named(late), begun=first)
    sweep = repository.sweep_records.begin_sweep(lost)
    repository.sweep_records.decide(sweep, lost)
    for pack in lost:
        repository.blobs.delete(pack_key(pack))
    repository.sweep_records.finish_sweep(sweep)
    disks.append(stored(again(repository), "run/1", seed=3, begun=second))

    with pytest.raises(StaleError):
        again(repository).seal(named(*disks, hours=1), begun=second)


def test_a_writer_taken_for_dead_says_so_and_nobody_relies_on_its_blocks(repository):
    with repository.open_writer(run="run/1") as writer:
        root = repository.write_attachment(writer, b"x" * BLOCK)
        for key in tries.begun_keys(repository.blobs):
            repository.blobs.delete(key)  # as maintenance does where there is no sign of life for long
        with pytest.raises(StaleError, match="no sign of life"):
            writer.flush()

    assert not again(repository).index.known(bytes.fromhex(root))


def test_a_try_that_was_removed_before_a_copy_of_it_begins_stops_no_copy(repository, named):
    begun = repository.begin_run("run/1")
    for key in tries.begun_keys(repository.blobs):
        repository.blobs.delete(key)

    again(repository).seal(named(stored(repository, "run/1", begun=begun)), begun=begun)

    assert len(list(repository.points())) == 1


class Forgetting(FaultyStore):
    """A store in which a maintenance that takes our process for dead removes its intent, right before the commit."""

    def __init__(self, inner, also=()):
        super().__init__(inner)
        self._also = also

    def put(self, key, data):
        if key.startswith("points/"):
            for blob in list(self.inner.list("runs/")):
                self.inner.delete(blob.key)
            for pack in self._also:
                self.inner.delete(pack_key(pack))
        return super().put(key, data)


def test_a_seal_whose_intent_was_removed_looks_again(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = Forgetting(repository.blobs)

    ref = Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert walked(store)
    assert [point.ref for point in repository.points()] == [ref]


def test_a_seal_whose_intent_was_removed_and_whose_blocks_were_taken_leaves_no_point(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = Forgetting(repository.blobs, also=packs(repository))

    with pytest.raises(StaleError):
        Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert list(repository.points()) == []


def test_a_point_that_lost_blocks_in_its_seal_and_cannot_be_deleted_is_marked(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = Forgetting(repository.blobs, also=packs(repository))
    store.fail("delete", prefix="points/", with_=LockedError("locked", until="2099-01-01"))

    with pytest.raises(StaleError):
        Repository(store, repository.descriptor).seal(named(root), begun=begun)

    (point,) = repository.points()
    assert repository.marks.damage_of(point.ref)


def test_a_second_seal_that_lost_its_blocks_leaves_the_point_that_came_first(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    own = packs(repository)
    other = stored(repository, "run/1", seed=2, begun=repository.begin_run("run/1"))
    first = []

    class Second(Forgetting):
        def put(self, key, data):
            if key.startswith("points/"):
                first.append(again(repository).seal(named(other)))
            return super().put(key, data)

    store = Second(repository.blobs, also=own)

    assert Repository(store, repository.descriptor).seal(named(root), begun=begun) == first[0]

    assert [point.images[0].root for point in repository.points()] == [other]


class TakenForDead(FaultyStore):
    """A store in which a maintenance removes the intent of a process that stands still, at its look at sweeps."""

    def list(self, prefix):
        if prefix == "sweeps/":
            for blob in list(self.inner.list("runs/")):
                if "/sealing/" in blob.key:
                    self.inner.delete(blob.key)
        return super().list(prefix)


def test_a_seal_whose_intent_is_gone_before_the_commit_commits_nothing(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = TakenForDead(repository.blobs)

    with pytest.raises(StaleError, match="start run run/1 again"):
        Repository(store, repository.descriptor).seal(named(root), begun=begun)

    assert not [key for call, key in store.calls if call == "put" and key.startswith("points/")]


class Forgotten(FaultyStore):
    """A store in which a maintenance that has listed a run before its intent was put ends at our look at sweeps."""

    def list(self, prefix):
        if prefix == "sweeps/":
            for blob in [*self.inner.list("runs/"), *self.inner.list("sweeps/")]:
                if "/sealing/" not in blob.key:
                    self.inner.delete(blob.key)
        return super().list(prefix)


def test_a_seal_that_misses_the_record_of_a_sweep_misses_its_try_too_and_walks(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    blocks = max(packs(repository), key=lambda pack: repository.blobs.size(pack_key(pack)))
    sweep = repository.sweep_records.begin_sweep([blocks])
    repository.sweep_records.decide(sweep, [blocks])
    repository.blobs.delete(pack_key(blocks))
    repository.sweep_records.finish_sweep(sweep)

    with pytest.raises(StaleError):
        Repository(Forgotten(repository.blobs), repository.descriptor).seal(named(root), begun=begun)

    assert list(repository.points()) == []


def test_a_map_never_stored_is_not_sealed_and_one_taken_is_told_as_taken(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)

    with pytest.raises(CorruptError):
        again(repository).seal(named("ab" * 32), begun=begun)
    for pack in packs(repository):
        repository.blobs.delete(pack_key(pack))
    with pytest.raises(StaleError):
        Repository(TakenForDead(repository.blobs), repository.descriptor).seal(named(root), begun=begun)

    assert list(repository.points()) == []


def test_a_walk_finds_the_other_copy_of_what_a_sweep_takes_meanwhile(repository):
    data = random.Random(1).randbytes(3 * BLOCK)
    with (
        repository.open_writer(run="a") as one,
        again(repository).open_writer(run="b") as other,
    ):
        roots = {repository.write_attachment(writer, data) for writer in (one, other)}
        one.flush()
        first = packs(repository)
        other.flush()
    old = again(repository).fresh_index()
    met = {old.find(bytes.fromhex(root)).pack for root in roots}
    taken = first if met <= first else packs(repository) - first
    sweep = repository.sweep_records.begin_sweep(taken)
    assert repository.sweep_records.decide(sweep, taken) == taken
    loads = iter([lambda: old, again(repository).fresh_index])

    handshake.walk(repository.blobs, repository.framer, list(roots), lambda: next(loads)())

    assert next(loads, None) is None, "the first index did not do"


def test_work_under_a_name_leaves_what_others_have_there(repository):
    other = repository.begin_run("copy:a:b")
    with (
        handshake.intent(repository.blobs, repository.framer, "copy:a:b", "vm", ["ab"]) as intent,
        repository.run("copy:a:b").open_lease("try-other"),
    ):
        with repository.at_work("copy:a:b"):
            repository.run("copy:a:b").restart()
        assert intent.stands
        assert tries.is_standing(repository.blobs, "copy:a:b", other)
        assert [blob.key.split("/")[2] for blob in repository.blobs.list("runs/")] == ["sealing", "tries"]


def test_work_shows_signs_of_life_and_leaves_nothing(repository):
    with repository.at_work("run/1"):
        assert [key for blob in repository.blobs.list("runs/") if "/leases/" in (key := blob.key)]

    assert list(repository.blobs.list("runs/")) == []


def test_an_intent_stands_while_a_point_is_sealed_and_goes_then(repository, named):
    begun = repository.begin_run("run/1")
    root = stored(repository, "run/1", begun=begun)
    store = FaultyStore(repository.blobs)

    Repository(store, repository.descriptor).seal(named(root), begun=begun)

    verbs = [(call, key.split("/")[0]) for call, key in store.calls if call in ("put", "delete")]
    sealed = verbs.index(("put", "points"))
    assert verbs[sealed - 1 :] == [
        ("put", "runs"), ("put", "points"), ("delete", "runs"), ("put", "sealed"), ("delete", "runs")
    ]  # fmt: skip
    assert list(repository.blobs.list("runs/")) == []  # it is over
    looked = [at for at, call in enumerate(store.calls) if call == ("list", "sweeps/")]
    declared = next(at for at, (call, key) in enumerate(store.calls) if call == "put" and "/sealing/" in key)
    assert looked[-1] > declared


def test_an_intent_names_all_that_its_point_names(repository, named):
    begun = repository.begin_run("run/1")
    roots = [stored(repository, "run/1", seed=seed, begun=begun) for seed in (1, 2, 3)]
    named_by_intents = set()

    class Watched(FaultyStore):
        def put(self, key, data):
            if key.startswith("points/"):
                for intent in handshake.intents(repository.blobs, repository.framer):
                    named_by_intents.update(intent.roots)
            return super().put(key, data)

    point = replace(named(*roots[:2]), attachments={"vm.nvram": roots[2]})
    Repository(Watched(repository.blobs), repository.descriptor).seal(point, begun=begun)

    assert named_by_intents == set(roots)


def test_an_intent_that_cannot_be_read_stops_whoever_would_delete(repository):
    repository.blobs.put("runs/r/sealing/vm/1", b"rubbish")

    with pytest.raises(CorruptError, match="runs/r/sealing/vm/1"):
        list(handshake.intents(repository.blobs, repository.framer))


def test_sealing_once_more_needs_no_handshake(repository, named):
    root = stored(repository, "run/1")
    ref = repository.seal(named(root))
    repository.sweep_records.begin_sweep(packs(repository))

    assert again(repository).seal(named(root)) == ref


class SweptAtTheSeal(FaultyStore):
    """Maintenance takes the sealer for dead and sweeps all packs once the manifest is there; then another acts."""

    acts = staticmethod(lambda: None)

    def put(self, key, data):
        created = super().put(key, data)
        if key.startswith("points/"):
            for blob in [*self.inner.list("runs/"), *self.inner.list("packs/")]:
                if "/sealing/" in blob.key or blob.key.startswith("packs/"):
                    self.inner.delete(blob.key)
            self.acts()
        return created


def seal_while(repository, point, acts):
    begun = repository.begin_run("run/1")
    root, _ = store_file(repository, random.Random(1).randbytes(3 * BLOCK), run="run/1", begun=begun)
    described = point(root, id=point_id("run/1", "5021-ab"), run="run/1")
    store = SweptAtTheSeal(repository.blobs)
    store.acts = lambda: acts(Repository(repository.blobs, repository.descriptor), described)
    with pytest.raises(StaleError):
        Repository(store, repository.descriptor).seal(described, begun=begun)
    assert list(repository.blobs.list("points/")) == []
    noting.require_points(repository)


def test_a_point_that_is_withdrawn_leaves_no_note_though_a_prune_has_put_one(repository, point):
    seal_while(repository, point, lambda other, _: noting.note_points(other))


def test_a_retry_does_not_count_on_a_point_that_its_first_try_withdraws(repository, point):
    def seal_again(other, described):
        with pytest.raises(StaleError):
            other.seal(described)

    seal_while(repository, point, seal_again)
