"""Writes a stored disk onto a target. Zeros cost nothing on a fresh target."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vmkeep.errors import ConflictError
from vmkeep.model.blockio import DiskTarget
from vmkeep.model.extents import Extent, gaps, overlaps, split
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress
from vmkeep.transfer.reading import DiskReading

_ZEROED_AT_ONCE = 64 << 20


def restore_disk(
    repository: Repository,
    root: str,
    target: DiskTarget,
    *,
    fresh: bool,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str = "disk",
) -> tuple[int, int]:
    """Write a stored disk to a target. Return the bytes written and the bytes zeroed.

    Nothing is written before every page of the map is read and every block is found in the index. No block is written
    before its digest is checked.

    :param root: root of the disk's map.
    :param fresh: the target reads as zeros everywhere, so that zeros are not written.
    :param what: the disk's name in errors, e.g. ``point vm/…: scsi0:0``.
    :raises ConflictError: the target is smaller than the disk.
    :raises CorruptError: a stored page or block is damaged. The message names it, and the byte of the disk.
    """
    disk = repository.open_map(root, what=what)
    if target.capacity < disk.capacity:
        raise ConflictError(f"{what}: needs {disk.capacity} bytes, the target has {target.capacity}")
    reading = DiskReading(
        disk, repository.open_blocks(), what=what, phase="restore", on_progress=on_progress, check=check
    )
    zeroed = 0
    if not fresh:
        zeroed = _zero(target, gaps(disk.stored_extents(), target.capacity), check)
    size = disk.block_size
    reading.run(lambda block, content: target.write(block * size, content))
    target.flush()
    return reading.size, zeroed


def _zero(target: DiskTarget, extents: Iterable[Extent], check: Callable[[], None]) -> int:
    """Write zeros to those of the extents that may hold data. Return the number of bytes."""
    allocated = target.allocated()
    dirty = extents if allocated is None else overlaps(extents, allocated)
    zeroed = 0
    for extent in split(dirty, _ZEROED_AT_ONCE):
        check()
        target.write_zeroes(extent.start, extent.length)
        zeroed += extent.length
    return zeroed
