"""A writer reads each note of damage until a listing is sure to tell a later change of it, and then no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vmkeep.blobs import BlobInfo
from vmkeep.repository.folders import INDEX
from vmkeep.repository.notes.damage import SETTLES_AFTER, BadFrame, DamageNotes, PackDamage, PackState
from vmkeep.testing import MemoryStore

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""The time of all blobs of a store in memory."""


class Timed(MemoryStore):
    """A store that counts reads, and whose times a test sets: blobs of one tick are listed with the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.tick = 0
        self._ticks: dict[str, int] = {}

    def replace(self, key: str, data: bytes) -> None:
        super().replace(key, data)
        self._ticks[key] = self.tick

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        for blob in super().list(prefix):
            yield replace(blob, modified=blob.modified + timedelta(seconds=self._ticks.get(blob.key, 0)))


class Site:
    """The notes as a finder of damage has them, and as a writer has them, on one store."""

    def __init__(self, make) -> None:
        self.store = Timed()
        self.seconds = 100.0
        framer = make().framer
        self.finder = DamageNotes(self.store, framer)
        self.writer = DamageNotes(self.store, framer, clock=lambda: self.seconds)

    def looks(self, *, reached: int | None = None) -> tuple[dict[int, tuple[int, ...]], int]:
        """Return the bad frames that the writer sees, by the number of their pack, and the reads that this took.

        :param reached: the tick that the store had reached by then, as far as the writer knows.
        """
        before = self.store.reads
        known = self.writer.load_new(reached=None if reached is None else EPOCH + timedelta(seconds=reached))
        assert known == self.finder.load()
        reads = self.store.reads - before - len(known.packs) - len(known.segments)
        return {int(note.pack, 16): tuple(it.offset for it in note.frames) for note in known.packs.values()}, reads

    def settles(self) -> None:
        """Let so much time pass that a writer's next reading counts for good."""
        self.seconds += SETTLES_AFTER
        self.store.tick += int(SETTLES_AFTER)


@pytest.fixture
def site(make):
    return Site(make)


def damage(pack: int, *offsets: int) -> PackDamage:
    frames = tuple(BadFrame(offset=offset, digest="ab" * 32) for offset in offsets)
    return PackDamage(pack=f"{pack:032x}", state=PackState.FRAMES, reason="it is a test", frames=frames)


def test_a_note_is_read_no_more_once_each_later_change_would_show_in_a_listing(site):
    for number in range(40):
        site.finder.remember(damage(number, 64), before=None)
    site.finder.remember_segment(f"{INDEX}{'0' * 32}", "it is a test")

    assert [site.looks()[1], site.looks()[1]] == [41, 41]  # younger than the store's times may be coarse
    site.settles()
    assert [site.looks()[1], site.looks()[1], site.looks()[1]] == [41, 0, 0]


def test_a_note_that_is_old_by_the_clock_of_the_store_is_read_once_however_often_a_writer_looks(site):
    for number in range(40):
        site.finder.remember(damage(number, 64), before=None)
    young = int(SETTLES_AFTER) - 1

    assert [site.looks(reached=young)[1], site.looks(reached=young)[1]] == [40, 40]
    assert [site.looks(reached=young + 1)[1], site.looks(reached=young + 1)[1], site.looks()[1]] == [40, 0, 0]


def test_a_note_that_is_replaced_after_it_was_old_is_seen(site):
    noted = site.finder.remember(damage(1, 64), before=None)
    site.store.tick += int(SETTLES_AFTER)
    site.looks(reached=site.store.tick)
    site.finder.remember(replace(damage(1, 96), since=noted.since), before=noted)

    assert site.looks(reached=site.store.tick) == ({1: (96,)}, 1)


def test_a_new_note_alone_is_read_and_one_that_is_removed_is_known_no_more(site):
    site.finder.remember(damage(1, 64), before=None)
    site.looks()
    site.settles()
    site.looks()
    site.finder.remember(damage(2, 128), before=None)
    assert site.looks() == ({1: (64,), 2: (128,)}, 1)

    site.finder.forget(damage(1).pack_id)
    assert site.looks() == ({2: (128,)}, 1)
    site.finder.forget(damage(2).pack_id)
    assert site.looks() == ({}, 0)


def test_a_note_that_is_replaced_by_one_of_its_length_within_a_second_of_the_store_is_seen(site):
    noted = site.finder.remember(damage(1, 64), before=None)
    assert site.looks()[0] == {1: (64,)}
    site.finder.remember(replace(damage(1, 96), since=noted.since), before=noted)

    assert site.looks()[0] == {1: (96,)}


def test_a_note_that_is_replaced_after_it_was_read_for_good_is_seen(site):
    noted = site.finder.remember(damage(1, 64), before=None)
    site.looks()
    site.settles()
    site.looks()
    site.settles()
    site.finder.remember(replace(damage(1, 96), since=noted.since), before=noted)

    assert site.looks() == ({1: (96,)}, 1)
    assert site.looks() == ({1: (96,)}, 1)  # and this one is young again
    site.settles()
    assert [site.looks(), site.looks()] == [({1: (96,)}, 1), ({1: (96,)}, 0)]


def test_a_note_that_cannot_be_read_counts_as_damage_at_each_look(site):
    key = f"damage/packs/{1:032x}"
    site.store.replace(key, b"no note")
    looks = []
    for _ in range(3):
        looks.append(site.looks()[0])
        site.settles()

    assert looks == [{1: ()}] * 3
