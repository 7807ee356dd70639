"""Prints of bytes: what tells that bytes of two restore points are the same, without reading them.

A repository knows each block of a disk by its digest. So bytes are the same if they lie at the same place of blocks
with the same digest, whatever a file system says of their times. Bytes whose print nobody knows are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol, runtime_checkable

from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent


class Print(NamedTuple):
    """A print of some bytes. Equal prints of ranges of one length: equal bytes."""

    digest: bytes | None
    """Digest of a block; ``None``: not known; empty: the bytes are zeros."""
    offset: int = 0
    """Byte of the block at which they begin."""


UNKNOWN: Final = Print(None)
ZEROS: Final = Print(b"")

Prints = Iterator[tuple[Extent, Print]]


@runtime_checkable
class PrintedDisk(Protocol):
    """A disk that knows the prints of its bytes."""

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, in order, each with its print."""


def prints_of(disk: RandomDisk, start: int, stop: int) -> Prints:
    """Yield the prints of a range of any disk."""
    if isinstance(disk, PrintedDisk):
        yield from disk.prints(start, stop)
    elif start < stop:
        yield Extent(start, stop), UNKNOWN


def moved(prints: Prints, *, by: int) -> Prints:
    """Yield prints at other places."""
    for extent, known in prints:
        yield Extent(extent.start + by, extent.stop + by), known


def prints_around(disk: RandomDisk, start: int, stop: int, units: Sequence[int], size: int) -> Prints:
    """Yield the prints of a disk of which some units are laid over by others, whose prints are not known.

    :param units: sorted numbers of those units, each of ``size`` bytes.
    """
    at, index = start, bisect_left(units, start // size)
    while index < len(units) and (place := units[index] * size) < stop:
        if place > at:
            yield from prints_of(disk, at, place)
        end = min(stop, place + size)
        yield Extent(max(at, place), end), UNKNOWN
        at = end
        index += 1
    if at < stop:
        yield from prints_of(disk, at, stop)


def doubtful(one: Prints, other: Prints, size: int) -> Iterator[Extent]:
    """Yield the ranges of two contents that are not the same by their prints. Neighbours come as one."""
    held: Extent | None = None
    for extent in _differing(one, other, size):
        if held is not None and held.stop == extent.start:
            held = Extent(held.start, extent.stop)
            continue
        if held is not None:
            yield held
        held = extent
    if held is not None:
        yield held


def _differing(one: Prints, other: Prints, size: int) -> Iterator[Extent]:
    left, right = _covering(one, size), _covering(other, size)
    at = 0
    mine = theirs = (0, ZEROS)
    while at < size:
        if mine[0] <= at:
            mine = next(left)
        if theirs[0] <= at:
            theirs = next(right)
        stop = min(mine[0], theirs[0])
        if not _is_same(*mine, *theirs):
            yield Extent(at, stop)
        at = stop


def _covering(prints: Prints, size: int) -> Iterator[tuple[int, Print]]:
    """Yield the ends of the ranges that cover a content, gaps as zeros. A print's offset is as if it ended there."""
    at = 0
    for extent, known in prints:
        if extent.start >= size:
            break
        if extent.start > at:
            yield extent.start, ZEROS
        at = min(extent.stop, size)
        yield at, known if not known.digest else Print(known.digest, known.offset + at - extent.start)
    if at < size:
        yield size, ZEROS


def _is_same(end: int, mine: Print, other_end: int, theirs: Print) -> bool:
    """Return whether two prints, each with the end of its range, are the same at each place that both cover."""
    if mine.digest is None or mine.digest != theirs.digest:
        return False
    return not mine.digest or end - mine.offset == other_end - theirs.offset
