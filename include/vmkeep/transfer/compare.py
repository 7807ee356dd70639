"""Reads a written disk back, all or a sample of it, and compares it with what it should hold.

Digests are checked before a block is written. This module checks the other end: that the block is on the right disk, at
the right place. Zeros are checked too, because an overwritten disk must not show its old content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from vmkeep.errors import VerificationError
from vmkeep.model.blockio import DiskSource, Piece
from vmkeep.model.extents import Extent, Extents, align_out, overlaps, total, unite
from vmkeep.model.overwrite import Verify
from vmkeep.repository import ZERO, DiskMap, Kind, Repository
from vmkeep.transfer.progress import OnProgress, ProgressCounter
from vmkeep.transfer.sampling import ALL_BELOW, SHARES

_HOLES = 256
"""Greatest number of holes whose first block is read back."""
_DEPTH = 8
_AT_ONCE = 65536
"""Number of blocks that one reader reads."""


def compare_disk(
    source: DiskSource,
    repository: Repository,
    root: str,
    *,
    verify: Verify = Verify.SAMPLE,
    only: Sequence[Extent] | None = None,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str,
) -> int:
    """Compare a disk, or a sample of it, with a stored map. Return the number of bytes that were compared.

    :param root: root of the map.
    :param only: the extents that were written, as whole blocks; ``None``: the whole disk. A sample is of these.
    :param what: the disk's name in errors.
    :raises VerificationError: the disk has other content. The message names the offset.
    """
    disk = repository.open_map(root)
    wanted = _whole(disk, source) if verify is Verify.ALL else None
    meter = ProgressCounter("read back", total(wanted if wanted is not None else _chosen(disk, source.capacity, only)))
    sample = iter(wanted) if wanted is not None else _chosen(disk, source.capacity, only)
    while some := Extents(islice(sample, _AT_ONCE)):
        with source.open_reader(some, piece_size=disk.block_size, depth=_DEPTH) as reader:
            while (piece := reader.next_piece()) is not None:
                try:
                    check()
                    _compare(piece, disk, repository, what)
                    meter.add(len(piece.data))
                finally:
                    piece.release()
                on_progress(meter.event())
    return meter.done


def _whole(disk: DiskMap, source: DiskSource) -> Extents:
    """Return the whole disk, without the areas that hold nothing in the map and are not allocated."""
    allocated = source.allocated()
    if allocated is None:
        return Extents([Extent(0, source.capacity)])
    return unite(disk.stored_extents(), align_out(allocated, disk.block_size, within=source.capacity))


def _chosen(disk: DiskMap, capacity: int, only: Sequence[Extent] | None) -> Iterator[Extent]:
    """Yield the blocks to read back, in order: a sample of what was written, or all of it if that is little."""
    written = disk.stored_extents() if only is None else overlaps(disk.stored_extents(), only)
    sample = _sample(disk, capacity, everything=total(written) <= ALL_BELOW)
    return sample if only is None else overlaps(sample, only)


def _sample(disk: DiskMap, capacity: int, *, everything: bool) -> Iterator[Extent]:
    """Yield the blocks to read back, in order: a sample of the stored blocks, and the first block of some holes."""
    size, holes, after = disk.block_size, 0, 0
    grown = disk.capacity // size if disk.capacity < capacity else -1
    for block, digest in chain(disk.blocks(), [(-(-capacity // size), b"")]):
        if block > after and holes < _HOLES:
            holes += 1
            yield Extent(after * size, min((after + 1) * size, capacity))
        if digest and (everything or digest[0] % SHARES == 0 or block in (0, grown)):
            yield Extent(block * size, min((block + 1) * size, capacity))
        after = block + 1


def _compare(piece: Piece, disk: DiskMap, repository: Repository, what: str) -> None:
    block = piece.start // disk.block_size
    # A target with a few sectors more has a longer last block. The bytes past the stored disk are zeros.
    length = max(0, min(len(piece.data), disk.capacity - piece.start))
    held = piece.data[:length]
    expected = disk.lookup(block) if length else ZERO
    rest = piece.data[length:]
    same = _is_zero(held) if expected == ZERO else repository.framer.digester.of(Kind.BLOCK, held) == expected
    if not (same and _is_zero(rest)):
        raise VerificationError(
            f"{what}: reads back something else than was written at byte {piece.start}; do not use it, restore again"
        )


def _is_zero(data: memoryview) -> bool:
    return bytes(len(data)).startswith(data)
