"""Reads a written disk back, a sample of it, and compares it with what it should hold.

Digests are checked before a block is written; this looks at the other end: that it went to the right place of the right
disk, and is there. Zeros are looked at too, where an overwritten disk must not show what it held before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

from vmkeep.errors import VerificationError
from vmkeep.model.blockio import DiskSource, Piece
from vmkeep.model.extents import Extent, Extents, total
from vmkeep.repository import ZERO, DiskMap, Kind, Repository
from vmkeep.transfer.progress import OnProgress, ProgressCounter

_ALL_BELOW = 64 << 20
"""Bytes of data up to which everything is read back; of larger disks it is a sample."""
_SAMPLE = 64
"""A sample reads one block out of this many."""
_HOLES = 256
"""Holes of which the first block is read back."""
_DEPTH = 8
_AT_ONCE = 65536
"""Blocks that one reader is asked for."""


def compare_disk(
    source: DiskSource,
    repository: Repository,
    root: str,
    *,
    on_progress: OnProgress,
    check: Callable[[], None],
    what: str,
) -> int:
    """Compare a sample of a disk with the map of that root; return how many bytes were compared.

    :param what: the disk's name in errors.
    :raises VerificationError: the disk holds something else; names the offset.
    """
    disk = repository.open_map(root)
    everything = sum(extent.length for extent in disk.stored_extents()) <= _ALL_BELOW
    meter = ProgressCounter("read back", total(_sample(disk, source.capacity, everything=everything)))
    sample = _sample(disk, source.capacity, everything=everything)
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


def _sample(disk: DiskMap, capacity: int, *, everything: bool) -> Iterator[Extent]:
    """Yield what is to be read back, in order, block by block: of what is stored, and the first block of some holes."""
    size, holes, after = disk.block_size, 0, 0
    grown = disk.capacity // size if disk.capacity < capacity else -1
    for block, digest in chain(disk.blocks(), [(-(-capacity // size), b"")]):
        if block > after and holes < _HOLES:
            holes += 1
            yield Extent(after * size, min((after + 1) * size, capacity))
        if digest and (everything or digest[0] % _SAMPLE == 0 or block in (0, grown)):
            yield Extent(block * size, min((block + 1) * size, capacity))
        after = block + 1


def _compare(piece: Piece, disk: DiskMap, repository: Repository, what: str) -> None:
    block = piece.start // disk.block_size
    # A target that was grown by a few sectors has a longer last block; what is past the stored disk is zeros.
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
