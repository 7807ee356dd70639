"""A try after a crash writes only the rest. At any doubt, it writes everything."""

from __future__ import annotations

import random
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.patience import eventually
from tests.unit.transfer.conftest import BLOCK, MemoryDisk
from vmkeep.errors import NotFoundError, VerificationError
from vmkeep.model.diskaccess import AccessLimits
from vmkeep.model.extents import Extent
from vmkeep.model.job import WriteJob, from_json
from vmkeep.model.overwrite import BlockChoice, Blocks, Verify
from vmkeep.model.vmref import VmRef
from vmkeep.transfer import pipeline, reading, target_disk, writelog, writing
from vmkeep.transfer.target_disk import TargetDisk
from vmkeep.transfer.writelog import WrittenPart

BLOCKS = 60
SIZE = BLOCKS * BLOCK + 512
RUN = "restore-1"
NOTE = "written-2000"


class PowerCut(BaseException):
    """The process dies here, so that nobody tidies up after it."""


class Dying(MemoryDisk):
    """A disk whose process dies after some writes, once a note tells of some of them. What was not flushed is lost."""

    def __init__(self, content, *, allocated=None):
        super().__init__(content, allocated=allocated)
        self.before_death = None
        self.has_note = lambda: True
        self._durable = bytearray(content)
        self._lock = threading.Lock()

    def _live(self):
        with self._lock:
            if self.before_death is None:
                return
            self.before_death -= 1
            if self.before_death >= 0:
                return
            self.before_death = 0
        eventually(self.has_note, "a note of what is written")
        raise PowerCut

    def write(self, start, data):
        self._live()
        super().write(start, data)

    def write_zeroes(self, start, length):
        self._live()
        super().write_zeroes(start, length)

    def flush(self):
        super().flush()
        self._durable[:] = self.content

    def come_back(self):
        self.before_death = None
        self.content[:] = self._durable
        self.writes, self.zeroed = [], []


class OneDisk:
    """A disk driver that has one disk."""

    limits = AccessLimits()

    def __init__(self, disk):
        self.disk = disk

    @contextmanager
    def open_target(self, _job):
        yield self.disk

    @contextmanager
    def open_written(self, _job):
        yield self.disk


@pytest.fixture(autouse=True)
def notes_at_every_look(monkeypatch):
    monkeypatch.setattr(writelog, "_EVERY", 0)
    monkeypatch.setattr(reading, "_CHECK_SECONDS", 0)
    monkeypatch.setattr(pipeline, "TICK", 0.01)


@pytest.fixture
def then():
    """Return the content of the point: data, and holes."""
    content = bytearray(random.Random(0).randbytes(SIZE))
    for hole in (10, 30, 44):
        content[hole * BLOCK : (hole + 4) * BLOCK] = bytes(4 * BLOCK)
    return content


@pytest.fixture
def place(repository, disk, back_up, then, small_packs):
    """A restore of one disk, try by try."""

    class Place:
        def __init__(self):
            self.root = back_up(disk(then), repository).root
            self.area = repository.run(RUN)
            self.disk = Dying(bytes(SIZE))
            self.disk.has_note = self.note
            self.job = WriteJob(
                run=RUN, point="vm/point", device_key=2000, vm=VmRef(moref="vm-1", name="app"), vcenter="vc",
                target_key=2000, target_uuid="uuid", target_file="[ds] app/app.vmdk", capacity=SIZE, fresh=True,
                resumes=True,
            )  # fmt: skip

        def note(self):
            try:
                found = from_json(WrittenPart, self.area.load(NOTE))
            except NotFoundError:
                return None
            return found if found.below or found.ahead else None

        def write(self, **changes):
            job = replace(self.job, **changes)
            target = TargetDisk(
                OneDisk(self.disk), repository, job, changes.get("root", self.root), settle=lambda _: None,
                on_progress=lambda _: None, check=lambda: None,
            )  # fmt: skip
            return target.write()

        def die(self, after=24, **changes):
            self.disk.before_death = after
            with pytest.raises(PowerCut):
                self.write(**changes)
            self.disk.come_back()
            return self.note()

    return Place()


def blocks_of(places):
    return sorted(start // BLOCK for start, _ in places)


def noted(note):
    return {*range(note.below), *note.blocks_ahead()}


def stored(then):
    return {at // BLOCK for at in range(0, SIZE, BLOCK) if any(then[at : at + BLOCK])}


def test_the_second_try_writes_the_blocks_that_no_note_names_and_no_others(place, then):
    note = place.die()

    done = place.write()

    assert place.disk.content == then
    assert noted(note)
    assert blocks_of(place.disk.writes) == sorted(stored(then) - noted(note))
    assert done.resumed + done.written == len(stored(then)) * BLOCK - BLOCK + 512


def test_a_restore_that_dies_again_and_again_ends_all_the_same(place, then):
    counts = [len(noted(place.die(after=10)) & stored(then)) for _ in range(3)]

    place.write()

    assert place.disk.content == then
    assert counts == sorted(counts)


def test_a_try_after_the_last_write_writes_nothing(place, then):
    place.write()
    place.disk.come_back()

    done = place.write()

    assert (place.disk.writes, place.disk.content) == ([], then)
    assert (done.written, done.resumed > 0) == (0, True)


def test_what_was_not_flushed_before_the_crash_is_written_again(place, then, monkeypatch):
    monkeypatch.setattr(writelog, "_EVERY", 10**9)
    place.disk.has_note = lambda: True
    assert place.die() is None

    place.write()

    assert blocks_of(place.disk.writes) == sorted(stored(then))
    assert place.disk.content == then


def test_zeros_over_old_content_are_not_written_twice_either(place, then, monkeypatch):
    monkeypatch.setattr(writing, "_ZEROED_AT_ONCE", BLOCK)
    place.disk.content[:] = place.disk._durable[:] = random.Random(9).randbytes(SIZE)
    place.disk.has_note = lambda: from_json(WrittenPart, place.area.load(NOTE)).zeroed
    place.disk.before_death = 7
    with pytest.raises(PowerCut):
        place.write(fresh=False)
    place.disk.come_back()
    zeroed = from_json(WrittenPart, place.area.load(NOTE)).zeroed

    place.write(fresh=False)

    assert place.disk.content == then
    assert min(start for start, _ in place.disk.zeroed) == zeroed


def test_of_a_part_of_a_disk_only_the_rest_is_written(place, then, repository):
    now = bytearray(then)
    now[5 * BLOCK : 50 * BLOCK] = bytes(45 * BLOCK)
    place.disk.content[:] = place.disk._durable[:] = now
    repository.run(RUN).store_extents("changed-2000", [Extent(5 * BLOCK, 50 * BLOCK)])
    choice = BlockChoice(disk=2000, blocks=Blocks.CHANGED, why="vSphere tells", extents="changed-2000")
    note = place.die(fresh=False, choice=choice)
    held = bytes(place.disk.content)

    done = place.write(fresh=False, choice=choice)

    assert place.disk.content == then
    assert done.part.blocks is Blocks.CHANGED
    assert blocks_of(place.disk.writes) == sorted((stored(then) & {*range(5, 50)}) - noted(note))
    place.disk.content[:], place.disk.writes = held, []
    place.write(fresh=False)
    assert blocks_of(place.disk.writes) == sorted(stored(then)), "because the note is about another part"


@pytest.mark.parametrize(
    "changed",
    [
        {"resumes": False}, {"point": "vm/another"}, {"target_file": "[ds] app/app-000001.vmdk"},
        {"target_uuid": "another"}, {"target_key": 2001}, {"vm": VmRef(moref="vm-2", name="app")},
        {"vcenter": "another"}, {"fresh": False},
    ],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_whatever_is_another_than_before_makes_all_be_written(place, then, changed):
    assert place.die()

    done = place.write(**changed)

    assert blocks_of(place.disk.writes) == sorted(stored(then))
    assert (place.disk.content, done.resumed) == (then, 0)


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b'{"of": 3}', "flip"])
def test_a_note_that_cannot_be_read_makes_all_be_written(place, then, store, damage):
    assert place.die()
    if damage == "flip":
        key = next(blob.key for blob in store.list("runs/") if blob.key.endswith(NOTE))
        blob = bytearray(store.get(key))
        blob[-1] ^= 1
        store.replace(key, bytes(blob))
    else:
        place.area.store(NOTE, damage)

    place.write()

    assert blocks_of(place.disk.writes) == sorted(stored(then))
    assert place.disk.content == then


def test_a_disk_that_does_not_hold_what_the_note_says_is_written_from_its_beginning(place, then):
    note = place.die()
    lost = min(noted(note) & stored(then))
    place.disk.content[lost * BLOCK + 5] ^= 1

    done = place.write(verify=Verify.NONE)

    assert blocks_of(place.disk.writes) == sorted(stored(then))
    assert (place.disk.content, done.resumed) == (then, 0)


def test_once_there_was_a_doubt_no_later_try_relies_on_the_old_note(place, then, monkeypatch):
    assert place.die()
    monkeypatch.setattr(writelog, "_EVERY", 10**9)
    place.disk.has_note = lambda: True
    place.die(after=3, resumes=False)

    place.write()

    assert blocks_of(place.disk.writes) == sorted(stored(then))
    assert place.disk.content == then


def test_what_the_sample_missed_and_the_comparison_finds_is_written_with_all_the_rest(place, then, monkeypatch):
    note = place.die()
    lost = min(noted(note) & stored(then))
    place.disk.content[lost * BLOCK + 5] ^= 1
    real, calls = target_disk.compare_disk, []

    def once_blind(*args, **options):
        calls.append(1)
        return 0 if len(calls) == 1 else real(*args, **options)

    monkeypatch.setattr(target_disk, "compare_disk", once_blind)

    done = place.write()

    assert (place.disk.content, done.resumed, done.part.blocks) == (then, 0, Blocks.ALL)


def test_a_disk_that_differs_though_nothing_was_left_out_fails_the_restore(place):
    place.disk.write = lambda start, data: None

    with pytest.raises(VerificationError):
        place.write()
