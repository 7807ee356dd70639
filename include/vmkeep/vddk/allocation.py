"""Chooses windows of a disk for QueryAllocatedBlocks, and turns its answers into byte ranges.

By VMware's rules, start and length of a query are whole chunks, a chunk has 64 KiB to 64 MiB, and one query spans at
most 524,288 chunks. The bytes beyond the last whole chunk count as allocated.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from operator import le
from typing import Final

from vmkeep.errors import VddkError
from vmkeep.model.extents import Extent, Extents, gather
from vmkeep.vddk.structures import SECTOR

CHUNK: Final = 128
"""Sectors of the smallest chunk that VDDK allows."""
LARGE_CHUNK: Final = 2048
_LARGE_DISK: Final = 4 << 40
MAX_CHUNKS: Final = 524_288


def choose_chunk(capacity: int) -> int:
    """Return the sectors of a chunk: the smallest, or a larger one if the disk would give millions of answers."""
    return CHUNK if capacity <= _LARGE_DISK else LARGE_CHUNK


def windows(sectors: int, chunk: int, *, limit: int = MAX_CHUNKS) -> Iterator[tuple[int, int]]:
    """Yield (start, count) in sectors: queries in order that together cover all whole chunks of the disk."""
    whole = sectors // chunk * chunk
    span = limit * chunk
    for start in range(0, whole, span):
        yield start, min(span, whole - start)


def tail(sectors: int, chunk: int) -> tuple[Extent, ...]:
    """Return the bytes beyond the last whole chunk."""
    whole = sectors // chunk * chunk
    return (Extent(whole * SECTOR, sectors * SECTOR),) if whole < sectors else ()


def to_extents(answers: Iterable[array[int]], sectors: int, chunk: int) -> Extents:
    """Turn flat (start, count) answers in sectors into normal extents in bytes, including the tail.

    Answers are cut at the end of the disk, because a library may round up beyond it.

    :raises VddkError: an answer reaches into the area of another query.
    """
    try:
        return gather(_ranges(answers, sectors, chunk))
    except ValueError as error:
        raise VddkError(f"the library tells allocated areas that were not asked for: {error}") from error


def _ranges(answers: Iterable[array[int]], sectors: int, chunk: int) -> Iterator[tuple[int, int]]:
    for answer in answers:
        starts = answer[::2]
        told = zip(starts, answer[1::2], strict=True)
        for start, count in told if all(map(le, starts, starts[1:])) else sorted(told):
            if start < (stop := min(start + count, sectors)):
                yield start * SECTOR, stop * SECTOR
    for extent in tail(sectors, chunk):
        yield extent.start, extent.stop
