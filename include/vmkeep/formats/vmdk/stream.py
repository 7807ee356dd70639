"""Writes a stream-optimised VMDK, the kind that OVF and OVA hold, from a disk's bytes in their order.

The stream is a header, the descriptor, then the compressed grains, each behind a *marker* with its place on the disk.
A grain table follows the last grain that it names. At the end stand the grain directory, a *footer*, which is the
header with the directory's place, and a marker of the end. So nothing that was sent is changed later.

ISA-L makes the deflate data at its level 2, because by measurement that is five times as fast as zlib's fastest level
and takes as much room (decision 0066). It works without Python's lock, so a thread for each core compresses.
"""

from __future__ import annotations

import os
import struct
from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from isal import isal_zlib

from vmkeep.errors import UnsupportedError
from vmkeep.formats.vmdk.describing import ExtentLine, VmdkFacts, check_disk, describe
from vmkeep.formats.vmdk.header import (
    DEFLATE,
    DIRECTORY_AT_END,
    FLAG_COMPRESSED,
    FLAG_MARKERS,
    FLAG_NEWLINES,
    GRAIN,
    MOST_SECTORS,
    SECTOR,
    TABLE_BYTES,
    TABLE_COVERS,
    TABLE_ENTRIES,
    MarkerKind,
    SparseHeader,
    little_endian,
    pack_marker,
    padded,
    sectors,
)
from vmkeep.lateclass import dataclass

_LEVEL = 2
_WINDOW = 16 * GRAIN
"""Bytes of the disk that a thread compresses at a time. A grain table covers a whole number of windows."""
_GRAIN_MARKER = struct.Struct("<QI")
_ZEROES = bytes(GRAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compressed:
    """The grains of a window, ready for the stream."""

    first: int
    """Number of the window's first grain."""
    data: bytes
    places: tuple[tuple[int, int], ...]
    """For each stored grain its number in the window, and its sector in ``data``."""


class StreamVmdk:
    """A stream-optimised VMDK that is made once, while the disk is read."""

    def __init__(self, facts: VmdkFacts, *, capacity: int) -> None:
        """Plan the stream.

        :param capacity: bytes of the disk.
        :raises UsageError: the name cannot stand in a descriptor, or the capacity is not a whole number of sectors.
        """
        check_disk(facts.name, capacity)
        self.capacity = capacity
        self.populated = 0
        """Bytes of the grains stored so far, uncompressed. At the end it is OVF's populated size."""
        self.size = 0
        """Bytes of the stream so far."""
        self._name = facts.name
        line = ExtentLine(size=capacity, kind="SPARSE", file=f"{facts.name}.vmdk")
        self._descriptor = padded(describe(facts, "streamOptimized", capacity, [line]))
        self._table = array("I", bytes(TABLE_BYTES))
        self._table_number = 0
        self._directory = array("I", bytes(4 * -(-capacity // TABLE_COVERS)))

    def parts(self, pieces: Iterable[tuple[int, memoryview]]) -> Iterator[bytes]:
        """Yield the stream in parts of about 1 MiB.

        :param pieces: places and bytes of the disk, in order, without overlaps; the rest of the disk is zeros. A
            piece's bytes may change once the next piece is asked for.
        :raises UnsupportedError: the stream would be larger than its tables can name.
        """
        header = SparseHeader(
            version=3,  # as vSphere writes it; the version that may be compressed
            flags=FLAG_NEWLINES | FLAG_COMPRESSED | FLAG_MARKERS,
            capacity=self.capacity // SECTOR,
            descriptor_at=1,
            descriptor_size=sectors(len(self._descriptor)),
            directory_at=DIRECTORY_AT_END,
            overhead=sectors(GRAIN),
            compression=DEFLATE,
        )
        yield self._sent((header.pack() + self._descriptor).ljust(GRAIN, b"\0"))
        for window in _compress(_windows(pieces, self.capacity)):
            if window.first // TABLE_ENTRIES != self._table_number:
                yield from self._end_of_table()
                self._table_number = window.first // TABLE_ENTRIES
            if window.data:
                self._note(window)
                yield self._sent(window.data)
        yield from self._end_of_table()
        yield self._sent(pack_marker(MarkerKind.DIRECTORY, sectors(4 * len(self._directory))))
        footer = replace(header, directory_at=self.size // SECTOR)
        yield self._sent(padded(little_endian(self._directory)))
        yield self._sent(pack_marker(MarkerKind.FOOTER, 1) + footer.pack() + pack_marker(MarkerKind.END, 0))

    def _sent(self, data: bytes) -> bytes:
        self.size += len(data)
        return data

    def _note(self, window: _Compressed) -> None:
        """Enter a window's grains in the grain table."""
        if (self.size + len(window.data)) // SECTOR >= MOST_SECTORS:
            raise UnsupportedError(
                f"{self._name}: the stream has become larger than {MOST_SECTORS * SECTOR} bytes, and the tables of a"
                " VMDK can name no more: choose another format"
            )
        at = self.size // SECTOR
        for number, place in window.places:
            self._table[(window.first + number) % TABLE_ENTRIES] = at + place
        self.populated += sum(
            min(GRAIN, self.capacity - (window.first + number) * GRAIN) for number, _ in window.places
        )

    def _end_of_table(self) -> Iterator[bytes]:
        """Yield the grain table that is complete now, if it names a grain."""
        table, self._table = self._table, array("I", bytes(TABLE_BYTES))
        if any(table):
            marker = pack_marker(MarkerKind.TABLE, sectors(TABLE_BYTES))
            self._directory[self._table_number] = (self.size + len(marker)) // SECTOR
            yield self._sent(marker + little_endian(table))


def _windows(pieces: Iterable[tuple[int, memoryview]], capacity: int) -> Iterator[tuple[int, bytearray]]:
    """Regroup pieces into windows: each with its first byte's place, and filled up with zeros."""
    number, window, last = 0, bytearray(), 0
    for start, data in pieces:
        if start < last or start + len(data) > capacity:
            raise ValueError(f"the piece [{start}, {start + len(data)}) is out of order, or beyond {capacity} bytes")
        at, last = start, start + len(data)
        while at < last:
            if window and at // _WINDOW != number:
                yield number * _WINDOW, window
                window = bytearray()
            number = at // _WINDOW
            window = window or bytearray(_WINDOW)
            stop = min(last, (number + 1) * _WINDOW)
            window[at - number * _WINDOW : stop - number * _WINDOW] = data[at - start : stop - start]
            at = stop
    if window:
        yield number * _WINDOW, window


def _compress(windows: Iterator[tuple[int, bytearray]]) -> Iterator[_Compressed]:
    """Compress windows on all cores; yield them in order. A few are held at a time, whatever the disk's size."""
    cores = os.cpu_count() or 1
    running: deque[Future[_Compressed]] = deque()
    with ThreadPoolExecutor(cores, thread_name_prefix="deflate") as pool:
        for start, window in windows:
            running.append(pool.submit(_compressed, start, window))
            if len(running) > 2 * cores:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


def _compressed(start: int, window: bytearray) -> _Compressed:
    """Compress the grains of a window that are not only zeros."""
    view = memoryview(window)
    parts: list[bytes] = []
    places: list[tuple[int, int]] = []
    size = 0
    for number in range(_WINDOW // GRAIN):
        grain = view[number * GRAIN : (number + 1) * GRAIN]
        if _ZEROES.startswith(grain):
            continue
        data = isal_zlib.compress(grain, _LEVEL)
        part = padded(_GRAIN_MARKER.pack(start // SECTOR + number * sectors(GRAIN), len(data)) + data)
        places.append((number, size // SECTOR))
        parts.append(part)
        size += len(part)
    return _Compressed(first=start // GRAIN, data=b"".join(parts), places=tuple(places))
