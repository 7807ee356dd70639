"""Over an existing disk only changed blocks are written, and every block as soon as anything speaks against that."""

from __future__ import annotations

import random
from contextlib import contextmanager

import pytest

from tests.unit.transfer.conftest import BLOCK, MemoryDisk
from vmkeep.errors import ConflictError, VerificationError
from vmkeep.model.diskaccess import AccessLimits
from vmkeep.model.extents import Extent, Extents, unite
from vmkeep.model.job import WriteJob
from vmkeep.model.overwrite import BlockChoice, Blocks, Verify
from vmkeep.model.vmref import VmRef
from vmkeep.transfer import overwriting
from vmkeep.transfer.target_disk import TargetDisk

SIZE = 40 * BLOCK + 512
RUN = "restore-1"


class OneDisk:
    """A disk driver that has one disk. It remembers in which order it was opened."""

    limits = AccessLimits()

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self.opened: list[str] = []

    @contextmanager
    def open_target(self, _job):
        self.opened.append("to write")
        yield self.disk

    @contextmanager
    def open_written(self, _job):
        self.opened.append("to read")
        yield self.disk


def noise(size=SIZE, seed=0):
    return bytearray(random.Random(seed).randbytes(size))


@pytest.fixture
def then():
    """Return the content of the point: data, and a hole."""
    content = noise()
    content[10 * BLOCK : 14 * BLOCK] = bytes(4 * BLOCK)
    return content


@pytest.fixture
def over(repository, disk, back_up, then):
    """Write the point over a disk, of which vSphere calls some extents changed."""
    root = back_up(disk(then), repository).root

    def run(now, changed=(), *, choice=None, verify=Verify.SAMPLE, capacity=SIZE, allocated=None):
        repository.run(RUN).store_extents("changed-2000", changed)
        known = BlockChoice(disk=2000, blocks=Blocks.CHANGED, why="vSphere tells", extents="changed-2000")
        job = WriteJob(
            run=RUN, point="vm/point", device_key=2000, vm=VmRef(moref="vm-1", name="app"), vcenter=None,
            target_key=2000, target_uuid=None, target_file="[ds] app/app.vmdk", capacity=capacity, fresh=False,
            choice=choice or known, verify=verify,
        )  # fmt: skip
        access = OneDisk(now if isinstance(now, MemoryDisk) else disk(now, allocated=allocated))
        target = TargetDisk(
            access, repository, job, root, settle=lambda _: None, on_progress=lambda _: None, check=lambda: None
        )
        return target.write(), access

    return run


def blocks_of(places):
    return sorted(start // BLOCK for start, _ in places)


def test_only_the_blocks_that_changed_are_written_whole_and_the_disk_is_what_it_was(over, then):
    now = bytearray(then)
    now[5 * BLOCK + 700] ^= 1
    now[11 * BLOCK : 11 * BLOCK + 512] = b"n" * 512
    now[-1] ^= 1

    done, access = over(
        now,
        [Extent(5 * BLOCK + 512, 5 * BLOCK + 1024), Extent(11 * BLOCK, 11 * BLOCK + 512), Extent(SIZE - 512, SIZE)],
    )

    assert access.disk.content == then
    assert blocks_of(access.disk.writes) == [5, 40]
    assert access.disk.zeroed == [(11 * BLOCK, BLOCK)]
    assert (done.part.blocks, done.written, done.zeroed) == (Blocks.CHANGED, BLOCK + 512, BLOCK)
    assert access.opened == ["to read", "to write", "to read"]


def test_nothing_changed_and_nothing_is_written(over, then):
    done, access = over(then)

    assert (access.disk.writes, access.disk.zeroed, done.part.blocks) == ([], [], Blocks.CHANGED)


@pytest.mark.parametrize("at", [0, 12 * BLOCK + 9, SIZE - 1])
def test_a_change_that_vsphere_leaves_out_makes_every_block_be_written(over, then, at):
    now = bytearray(then)
    now[at] ^= 1

    done, access = over(now, [Extent(20 * BLOCK, 21 * BLOCK)])

    assert access.disk.content == then
    assert done.part.blocks is Blocks.ALL
    assert "change tracking left out a change" in done.part.why
    assert len(access.disk.writes) == 37


def test_blocks_that_the_guest_has_trimmed_are_written_though_nobody_calls_them_changed(over, then):
    now = bytearray(then)
    now[30 * BLOCK : 32 * BLOCK] = bytes(2 * BLOCK)

    done, access = over(now, allocated=Extents([Extent(0, 30 * BLOCK), Extent(32 * BLOCK, SIZE)]))

    assert access.disk.content == then
    assert (blocks_of(access.disk.writes), done.part.blocks) == ([30, 31], Blocks.CHANGED)


def test_a_try_after_a_crash_writes_at_least_what_the_first_one_began_to_write(over, repository, then, disk):
    now = bytearray(then)
    now[30 * BLOCK : 32 * BLOCK] = bytes(2 * BLOCK)
    over(now, allocated=Extents([Extent(0, 30 * BLOCK), Extent(32 * BLOCK, SIZE)]))

    noted = repository.run(RUN).load_extents("changed-2000")

    assert noted == [Extent(30 * BLOCK, 32 * BLOCK)]


def test_a_try_after_a_doubt_writes_every_block_also_if_its_own_sample_shows_none(over, repository, then, monkeypatch):
    now = bytearray(then)
    now[3] ^= 1
    over(now)
    doubted = repository.run(RUN).load_extents("changed-2000")

    done, access = over(then, doubted)

    assert (done.part.blocks, len(access.disk.writes)) == (Blocks.ALL, 37)


def test_of_a_large_disk_a_sample_of_the_blocks_that_stay_is_read(over, then, monkeypatch):
    monkeypatch.setattr(overwriting, "ALL_BELOW", 0)
    read = []
    disk = MemoryDisk(then)
    disk.before_piece = read.append

    done, _ = over(disk)

    assert 0 <= len(read) < 10
    assert done.part.blocks is Blocks.CHANGED


def test_a_lost_note_of_what_changed_makes_every_block_be_written(over, then):
    choice = BlockChoice(disk=2000, blocks=Blocks.CHANGED, why="vSphere tells", extents="another")

    done, access = over(bytes(SIZE), choice=choice)

    assert access.disk.content == then
    assert "the note of what changed cannot be read" in done.part.why


def test_all_blocks_are_written_as_told_and_the_disk_is_not_read_before(over, then):
    choice = BlockChoice(disk=2000, blocks=Blocks.ALL, why="all blocks were asked for")

    done, access = over(noise(seed=9), choice=choice)

    assert access.disk.content == then
    assert (done.part.why, access.opened) == ("all blocks were asked for", ["to write", "to read"])


class Forgetful(MemoryDisk):
    """A disk that loses a number of writes, and says nothing."""

    loses = 0

    def write(self, start, data):
        if self.loses:
            self.loses -= 1
            return
        super().write(start, data)


def test_a_changed_block_that_did_not_reach_the_disk_makes_every_block_be_written_once_more(over, then):
    now = bytearray(then)
    now[5 * BLOCK] ^= 1
    target = Forgetful(now)
    target.loses = 1

    done, _ = over(target, [Extent(5 * BLOCK, 6 * BLOCK)])

    assert target.content == then
    assert (done.part.blocks, done.written > 30 * BLOCK) == (Blocks.ALL, True)
    assert f"at byte {5 * BLOCK}" in done.part.why


def test_a_disk_that_still_differs_fails_the_restore(over, then):
    target = Forgetful(noise(seed=4))
    target.loses = 10_000

    with pytest.raises(VerificationError, match="do not use it"):
        over(target, [Extent(0, SIZE)])


@pytest.mark.parametrize("verify", list(Verify))
def test_the_whole_disk_is_read_back_only_if_asked_for(over, then, verify):
    now = bytearray(then)
    now[5 * BLOCK] ^= 1

    done, access = over(now, [Extent(5 * BLOCK, 6 * BLOCK)], verify=verify)

    assert done.compared == {Verify.NONE: 0, Verify.SAMPLE: BLOCK, Verify.ALL: SIZE}[verify]
    assert access.opened.count("to read") == (1 if verify is Verify.NONE else 2)


def test_reading_back_all_finds_what_a_hole_should_not_hold(over, then, monkeypatch):
    monkeypatch.setattr(overwriting, "ALL_BELOW", 0)
    monkeypatch.setattr(overwriting, "SHARES", 1 << 30)
    now = bytearray(then)
    now[13 * BLOCK + 5] = 7

    done, access = over(now, verify=Verify.ALL)

    assert access.disk.content == then
    assert done.part.blocks is Blocks.ALL


def test_a_disk_of_another_size_is_not_written(over, then):
    with pytest.raises(ConflictError, match="as planned"):
        over(bytes(SIZE), capacity=SIZE + 512)


def test_uniting_keeps_every_byte_and_adds_none():
    left, right = Extents([Extent(0, 5), Extent(10, 20)]), Extents([Extent(3, 7), Extent(20, 30), Extent(40, 41)])

    assert unite(left, right) == [Extent(0, 7), Extent(10, 30), Extent(40, 41)]
