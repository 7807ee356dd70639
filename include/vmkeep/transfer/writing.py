"""Writes a stored disk onto a target. Zeros cost nothing on a fresh target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from vmkeep.errors import ConflictError
from vmkeep.model.blockio import DiskTarget
from vmkeep.model.extents import Extent, gaps, overlaps, split
from vmkeep.repository import DiskMap, Repository
from vmkeep.transfer.joining import JoinedWrites
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.reading import DiskReading
from vmkeep.transfer.writelog import Unlogged, WrittenPart

_ZEROED_AT_ONCE = 64 << 20
_UNLOGGED = Unlogged()


def restore_disk(
    repository: Repository,
    root: str,
    target: DiskTarget,
    *,
    fresh: bool,
    only: Sequence[Extent] | None = None,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str = "disk",
    at_most: int | None = None,
    notes: Unlogged = _UNLOGGED,
) -> tuple[int, int]:
    """Write a stored disk to a target. Return the bytes written and the bytes zeroed.

    Nothing is written before every page of the map is read and every block is found in the index. No block is written
    before its digest is checked.

    :param root: root of the disk's map.
    :param fresh: the target reads as zeros everywhere, so that zeros are not written.
    :param only: the extents to write, as whole blocks; ``None``: the whole disk.
    :param what: the disk's name in errors, e.g. ``point vm/…: scsi0:0``.
    :param at_most: bytes up to which neighbouring blocks are one write; ``None``: each block is written by itself.
    :param notes: takes the progress, and knows what earlier tries have written, which is left as it is.
    :raises ConflictError: the target is smaller than the disk.
    :raises CorruptError: a stored page or block is damaged. The message names it, and the byte of the disk.
    """
    disk = repository.open_map(root, what=what)
    if target.capacity < disk.capacity:
        raise ConflictError(f"{what}: needs {disk.capacity} bytes, the target has {target.capacity}")
    extents = [Extent(0, disk.capacity)] if only is None else only
    reading = DiskReading(
        disk,
        repository.open_blocks(),
        what=what,
        phase="restore",
        on_progress=on_progress,
        check=partial(_both, check, notes.tick),
        chosen=_MissingBlocks(disk, extents, notes.before),
    )
    # A map of its own, because one is read by one thread.
    notes.begin(target, (block for block, _ in _MissingBlocks(repository.open_map(root), extents, notes.before)))
    zeroed = 0
    if not fresh:
        empty = gaps(disk.stored_extents(), target.capacity)
        zeroed = _zero(target, empty if only is None else overlaps(empty, only), check, notes)
    writes = JoinedWrites(target, disk.block_size, at_most=at_most, on_written=notes.note_block)
    reading.run(writes.write, buffers=writes.buffers, settle=writes.settle)
    target.flush()
    notes.finish()
    return reading.size, zeroed


class _MissingBlocks:
    """The stored blocks in some extents, without those that are written.

    They are read from the map anew each time, because they may be many.
    """

    def __init__(self, disk: DiskMap, extents: Sequence[Extent], before: WrittenPart) -> None:
        self._disk = disk
        self._extents = extents
        self._below = before.below
        self._ahead = before.blocks_ahead()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the digest of each block, in order."""
        size = self._disk.block_size
        for extent in self._extents:
            first, stop = max(extent.start // size, self._below), -(-extent.stop // size)
            for block, digest in self._disk.blocks(first, stop):
                if block not in self._ahead:
                    yield block, digest


def _zero(target: DiskTarget, extents: Iterable[Extent], check: Callable[[], None], notes: Unlogged) -> int:
    """Write zeros to those of the extents that may hold data. Return the number of bytes."""
    allocated = target.allocated()
    dirty = extents if allocated is None else overlaps(extents, allocated)
    zeroed = 0
    for extent in split(dirty, _ZEROED_AT_ONCE):
        if extent.stop <= notes.before.zeroed:
            continue
        check()
        target.write_zeroes(extent.start, extent.length)
        zeroed += extent.length
        notes.note_zeros(extent.stop)
    return zeroed


def _both(first: Callable[[], None], second: Callable[[], None]) -> None:
    first()
    second()
