"""The reached frames against a naive model: sets of digests, walked one by one."""

from __future__ import annotations

import random
from collections import defaultdict

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.stored_maps import page_digests
from tests.unit.maintenance.conftest import BLOCK, AgingStore, block
from vmkeep.errors import CorruptError
from vmkeep.maintenance import reachability
from vmkeep.maintenance.reachability import Rank, ReachedFrames
from vmkeep.repository import ZERO, Kind, Repository
from vmkeep.repository.frames.packs import pack_key
from vmkeep.repository.notes.damage import BadFrame, PackDamage, PackState
from vmkeep.repository.unlock import descriptor

CONTENT = {number: (b"%04d" % number * (BLOCK // 4)) for number in range(1, 40)}
CONTENT[0] = bytes(BLOCK)
disks = st.lists(st.integers(0, 39), min_size=1, max_size=80)


def repository_in(store=None):
    store = AgingStore() if store is None else store
    made = descriptor.new_descriptor(block_size=BLOCK, compression="zstd")
    descriptor.create(store, made)
    return Repository(store, made)


def stored(repository, numbers, run):
    """Store a disk by its blocks' numbers, and return its root."""
    with repository.open_writer(run=run) as out:
        builder = repository.build_map(out, capacity=len(numbers) * BLOCK)
        for at, number in enumerate(numbers):
            if number:
                digest = repository.framer.digester.of(Kind.BLOCK, CONTENT[number])
                out.add(Kind.BLOCK, digest, CONTENT[number])
                builder.set(at, [digest])
        root = builder.store()
        out.flush()
    return root


def below(repository, root):
    """Return every digest below a root, and the root."""
    disk = repository.open_map(root)
    blocks = {digest for _, digest in disk.blocks()}
    return {bytes.fromhex(root), *page_digests(disk), *blocks} - {ZERO}


def places(repository):
    """Digest → places, from the index's entries one by one."""
    found = defaultdict(set)
    for columns in repository.fresh_index().columns():
        table = [row.tobytes() for row in columns.pack_ids]
        for row in range(len(columns.prefixes)):
            pack = table[columns.packs[row]]
            found[columns.digest(row)].add((pack, int(columns.offsets[row]), int(columns.lengths[row])))
    return found


def marked_places(reached):
    frames = reached.live_frames(frozenset(reached.blobs))
    return {(frame.digest, pack, frame.offset, frame.length) for pack, group in frames.items() for frame in group}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(disks, min_size=1, max_size=5), st.integers(0, 31), st.randoms(use_true_random=False), st.booleans())
def test_exactly_what_is_below_the_roots_is_marked_once_and_in_the_best_place(given_disks, kept, chance, again):
    repository = repository_in()
    roots = [stored(repository, numbers, f"r{at}") for at, numbers in enumerate(given_disks)]
    if again:  # condemned packs do not count as stored: all is stored a second time
        repository.sweep_records.condemn(repository_packs(repository))
        for at, numbers in enumerate(given_disks):
            stored(repository, numbers, f"again{at}")
    ranks = {pack: chance.choice([Rank.CLEAR, Rank.CONDEMNED, Rank.CANDIDATE, Rank.OTHERS])
             for pack in repository_packs(repository)}  # fmt: skip
    kept_roots = [root for at, root in enumerate(roots) if kept >> at & 1]

    reached = ReachedFrames(repository, ranks.__getitem__)
    reached.reach(kept_roots)
    reached.reach(kept_roots)

    expected = set().union(*(below(repository, root) for root in kept_roots)) if kept_roots else set()
    known = places(repository)
    found = marked_places(reached)
    assert {digest for digest, *_ in found} == expected
    assert len(found) == len(expected)
    for digest, pack, offset, length in found:
        assert (pack, offset, length) in known[digest]
        assert ranks[pack] == min(ranks[other] for other, _, _ in known[digest])
    live = defaultdict(int)
    for _, pack, _, length in found:
        live[pack] += length
    assert reached.live() == live
    framed = defaultdict(int)
    for entries in known.values():
        for pack, _, length in entries:
            framed[pack] += length
    assert reached.framed() == framed
    assert reached.complete


def repository_packs(repository):
    from vmkeep.repository.checks.packcheck import pack_id_of

    return [pack_id_of(blob.key) for blob in repository.blobs.list("packs/")]


def test_two_walks_choose_the_same_of_equal_places():
    repository = repository_in()
    root = stored(repository, range(1, 30), "one")
    repository.sweep_records.condemn(repository_packs(repository))
    assert stored(repository, range(1, 30), "two") == root

    both = [ReachedFrames(repository), ReachedFrames(Repository(repository.blobs, repository.descriptor))]
    for reached in both:
        reached.reach([root])

    assert marked_places(both[0]) == marked_places(both[1])


def test_a_page_is_read_once_however_many_points_share_it(monkeypatch):
    repository = repository_in()
    chance = random.Random(3)
    numbers = [chance.randrange(40) for _ in range(200)]
    roots = [stored(repository, [*numbers, number], f"r{number}") for number in range(5)]
    read = []
    wanted = reachability.Wanted
    monkeypatch.setattr(reachability, "Wanted", lambda digest, *rest: read.append(digest) or wanted(digest, *rest))

    reached = ReachedFrames(repository)
    for root in roots:
        reached.reach([root])

    assert len(read) == len(set(read))
    assert set(read) == {
        digest for root in roots for digest in {bytes.fromhex(root), *page_digests(repository.open_map(root))}
    }


@pytest.mark.parametrize("pages", [1, 3, 2048])
def test_how_many_pages_are_read_together_changes_nothing(monkeypatch, pages):
    repository = repository_in()
    chance = random.Random(4)
    root = stored(repository, [chance.randrange(40) for _ in range(64 * 64 + 70)], "r")
    monkeypatch.setattr(reachability, "_PAGES", pages)

    reached = ReachedFrames(repository)
    reached.reach([root])

    assert {digest for digest, *_ in marked_places(reached)} == below(repository, root)


def test_a_copy_in_a_good_frame_is_preferred_and_a_damaged_one_is_better_than_none():
    repository = repository_in()
    root = stored(repository, [1], "one")
    digest = repository.framer.digester.of(Kind.BLOCK, CONTENT[1])
    location = repository.index.find(digest)
    repository.damage.remember(
        PackDamage(
            pack=location.pack.hex(), state=PackState.FRAMES, reason="rot",
            frames=(BadFrame(offset=location.offset, digest=digest.hex()),),
        ),
        before=None,
    )  # fmt: skip

    def chosen():
        reached = ReachedFrames(Repository(repository.blobs, repository.descriptor))
        reached.reach([root])
        assert reached.complete
        return {pack for found, pack, *_ in marked_places(reached) if found == digest}

    assert chosen() == {location.pack}
    other = Repository(repository.blobs, repository.descriptor)
    assert stored(other, [1], "two") == root
    assert len(places(repository)[digest]) == 2
    assert chosen() != {location.pack}


def test_a_missing_page_is_an_error_but_for_what_cannot_be_sealed_without_it():
    repository = repository_in()
    root = stored(repository, list(range(1, 40)) * 3, "r")
    for blob in list(repository.blobs.list("packs/")):
        if blob.size < 8192:
            repository.blobs.delete(blob.key)

    with pytest.raises(CorruptError, match="nothing is deleted"):
        ReachedFrames(repository).reach([root])
    reached = ReachedFrames(repository)
    reached.reach([root], strict=False)
    assert reached.live() == {}


def test_a_block_that_only_an_unsealed_point_misses_is_not_told_as_lost():
    """Its process stood still while the block was swept, and will find that out before it seals."""
    repository = repository_in()
    root = stored(repository, list(range(1, 40)), "r")
    index = repository.fresh_index()
    for number in range(1, 40):
        location = index.find(repository.framer.digester.of(Kind.BLOCK, CONTENT[number]))
        repository.blobs.delete(pack_key(location.pack))
    reached = ReachedFrames(repository)

    reached.reach([root], strict=False)

    assert reached.lost == 0
    assert not reached.complete, "nobody knows where it is"
    sealed = ReachedFrames(repository)
    sealed.reach([root])
    assert sealed.lost == 39


def test_what_is_no_root_is_an_error():
    with pytest.raises(CorruptError, match="not the digest of a map"):
        ReachedFrames(repository_in()).reach(["ab"])


def test_blocks_are_not_compared_by_their_prefixes_alone():
    """Two digests that agree in their first 8 bytes: both are in the index, next to each other."""
    repository = repository_in()
    twins = [b"12345678" + bytes([tail]) * 24 for tail in (9, 1, 5)]
    for twin in (*twins, *twins):
        with repository.open_mover(run="move") as out:
            repository.sweep_records.condemn(repository_packs(repository))
        with repository.open_mover(run="move") as out:
            out.move(repository.framer.pack(Kind.BLOCK, twin, block(1)))
            out.flush()
    reached = ReachedFrames(repository)

    fresh = reached._mark(reachability._rows(twins), pages=False, strict=True)

    assert {row.tobytes() for row in fresh} == set(twins)
    assert {digest for digest, *_ in marked_places(reached)} == set(twins)
    assert len(reached._mark(reachability._rows(twins), pages=False, strict=True)) == 0
