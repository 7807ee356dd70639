"""Writes into a qcow2 image in place, such as one that was planned here before.

New clusters are put at the file's end. :meth:`Qcow2Target.flush` makes the data durable first, then the reference
counts, then the L2 tables, then the L1 table. So a power cut at any point leaves an image that QEMU opens: its tables
name nothing that is not written, and at most some clusters at its end are used by nothing.

The first write clears the header's auto-clear features, as the format wants it of a writer that does not know them. So
QEMU takes a bitmap of changed blocks that it has stored in the image for out of date, which it is from then on.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

from vmkeep.errors import NotFoundError, TransferError, UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.qcow2.header import AUTOCLEAR_AT, COPIED, Header, read_opening
from vmkeep.formats.qcow2.numbers import packed, unpacked
from vmkeep.formats.qcow2.tables import Tables
from vmkeep.formats.writing import write_all
from vmkeep.model.extents import Extent, Extents, gather, split

_PLACE = 0x00FF_FFFF_FFFF_FE00
_ZERO = 1
_COMPRESSED = 1 << 62
"""Bit of an L2 entry whose lower bits are the place and the length of compressed data, and nothing else."""
_MOST_CHANGED = 256
"""Number of changed L2 tables, each of 64 KiB, after which a write makes them durable."""


class Qcow2Target:
    """A qcow2 image as a disk to be written; see :class:`vmkeep.model.blockio.DiskTarget`. A context manager."""

    transport = "file"

    def __init__(self, path: Path) -> None:
        """Open an image of version 3 that is complete by itself.

        :raises NotFoundError: there is no such file, or it may not be written.
        :raises UsageError: it is no qcow2 image, or damaged.
        :raises UnsupportedError: it has a backing file, internal snapshots, or a form that is only read here.
        """
        with ImageFile(path) as file:
            self._header = _require_own(file)
            self._l1 = unpacked(file.read(self._header.l1_offset, self._header.l1_entries * 8))
            table = self._header.refcounts_clusters * self._header.cluster
            self._counts_table = unpacked(file.read(self._header.refcounts_offset, table))
            self._end = self._counted = -(-file.size // self._header.cluster)
        self._path = path
        self.capacity = self._header.size
        self._cluster = self._header.cluster
        self._reach = self._header.table_entries * self._cluster
        self._lock = threading.Lock()
        self._autoclear = self._header.autoclear
        self._changed: dict[int, array[int]] = {}
        """L2 tables that are not durable yet, by their number."""
        self._last: tuple[int, array[int]] = (-1, array("Q"))
        """The L2 table that was looked at last, with its number."""
        self._reserved: dict[int, int] = {}
        """Place of each new cluster whose data is being written, by the cluster's number on the disk."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be written: {error.strerror}") from error

    def __enter__(self) -> Qcow2Target:  # noqa: PYI034 - as in images.diskfiles
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the image. Writes since the last flush are lost."""
        os.close(self._file)

    def allocated(self) -> Extents:
        """Return the extents that hold data by the tables that are durable."""
        with self._lock:
            self._flush()
        with ImageFile(self._path) as file:
            return gather(Tables(file, self._header).stored())

    def require_writable(self, extents: Extents) -> None:
        """Return if all clusters of some extents take writes.

        :raises UnsupportedError: one is compressed or shared by a snapshot.
        """
        with self._lock:
            for part in split(extents, self._reach):
                first, stop = part.start // self._cluster, -(-part.stop // self._cluster)
                number, inside = divmod(first, self._header.table_entries)
                if self._l1[number] & _PLACE:
                    for at, entry in enumerate(self._table(number)[inside : inside + stop - first], first):
                        self._require_plain(at, entry)

    def write(self, start: int, data: memoryview) -> None:
        """Write whole sectors. Thread-safe."""
        if start < 0 or start + len(data) > self.capacity:
            raise ValueError(f"bytes {start} to {start + len(data)} are beyond the disk's {self.capacity}")
        with self._lock:
            self._begin()
            places = list(self._places(start, start + len(data)))
        for first, stop, place in places:
            write_all(self._file, self._path, data[first - start : stop - start], place)
        with self._lock:
            for cluster, place in self._named(places):
                self._entries(cluster // self._header.table_entries)[cluster % self._header.table_entries] = (
                    place | COPIED
                )
                self._reserved.pop(cluster, None)
            if len(self._changed) > _MOST_CHANGED:
                self._flush()

    def write_zeroes(self, start: int, length: int) -> None:
        """Make whole sectors read as zeros: whole clusters by a mark in their table. Thread-safe."""
        for part in split([Extent(start, start + length)], self._cluster):
            with self._lock:
                entry = self._entry(part.start // self._cluster)
                if not entry & _PLACE or entry & _ZERO:
                    continue
                if part.length == min(self._cluster, self.capacity - part.start):
                    self._begin()
                    number, inside = divmod(part.start // self._cluster, self._header.table_entries)
                    self._entries(number)[inside] = entry | _ZERO
                    continue
            self.write(part.start, memoryview(bytes(part.length)))

    def flush(self) -> None:
        """Return once everything written is durable, and named by the image's tables."""
        with self._lock:
            self._flush()

    def _places(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """Yield (start, stop, place) for each part of the disk whose place in the file is without a gap."""
        held: tuple[int, int, int] | None = None
        for part in split([Extent(start, stop)], self._cluster):
            number = part.start // self._cluster
            place = self._place(number, whole=part.length == self._cluster) + part.start % self._cluster
            if held is not None and held[2] + held[1] - held[0] == place:
                held = held[0], part.stop, held[2]
                continue
            if held is not None:
                yield held
            held = part.start, part.stop, place
        if held is not None:
            yield held

    def _place(self, cluster: int, *, whole: bool) -> int:
        """Return the place of a cluster. Reserve a new one if it has none."""
        if (reserved := self._reserved.get(cluster)) is not None:
            return reserved
        entry = self._entry(cluster)
        place = entry & _PLACE
        if place and entry & _ZERO and not whole:
            write_all(self._file, self._path, memoryview(bytes(self._cluster)), place)
        if not place:
            place = self._new() * self._cluster
        if place != entry & ~COPIED:
            self._reserved[cluster] = place
        return place

    def _named(self, places: list[tuple[int, int, int]]) -> Iterator[tuple[int, int]]:
        """Yield (cluster, place) for each written cluster that its table does not name yet."""
        for first, stop, place in places:
            for part in split([Extent(first, stop)], self._cluster):
                if (cluster := part.start // self._cluster) in self._reserved:
                    yield cluster, (place + part.start - first) // self._cluster * self._cluster

    def _new(self) -> int:
        self._end += 1
        return self._end - 1

    def _begin(self) -> None:
        """Clear the auto-clear features durably, before anything else is changed."""
        if self._autoclear:
            self._put(bytes(8), AUTOCLEAR_AT)
            self._sync()
            self._autoclear = 0

    def _entry(self, cluster: int) -> int:
        """Return the L2 entry of a cluster that is about to be changed.

        :raises UnsupportedError: it is of a kind that can only be read.
        """
        number, inside = divmod(cluster, self._header.table_entries)
        entry = self._table(number)[inside]
        self._require_plain(cluster, entry)
        return entry

    def _require_plain(self, cluster: int, entry: int) -> None:
        wrong = ""
        if entry & _COMPRESSED:
            wrong = "is compressed, e.g. by 'qemu-img convert -c'"
        elif entry & _PLACE and not entry & COPIED:
            wrong = "is shared by a snapshot"
        if wrong:
            raise UnsupportedError(
                f"{self._path}: byte {cluster * self._cluster} of the disk {wrong}, so that nothing can be written "
                "there: export it again"
            )

    def _entries(self, number: int) -> array[int]:
        """Return an L2 table that is about to be changed."""
        return self._changed.setdefault(number, self._table(number))

    def _table(self, number: int) -> array[int]:
        if (found := self._changed.get(number)) is not None:
            return found
        if self._last[0] != number:
            place = self._l1[number] & _PLACE
            self._last = number, unpacked(self._read(place) if place else bytes(self._cluster))
        return self._last[1]

    def _read(self, place: int) -> bytes:
        data = os.pread(self._file, self._cluster, place)
        if len(data) != self._cluster:
            raise UsageError(f"{self._path}: is damaged or cut off: a table would lie at byte {place}")
        return data

    def _flush(self) -> None:
        new = [number for number in self._changed if not self._l1[number] & _PLACE]
        places = {number: self._new() * self._cluster for number in new}
        self._count()
        for number, entries in self._changed.items():
            place = places.get(number) or self._l1[number] & _PLACE
            self._put(packed(entries), place)
        self._sync()
        for number, place in places.items():
            self._l1[number] = place | COPIED
            self._put(packed(array("Q", [place | COPIED])), self._header.l1_offset + 8 * number)
        self._sync()
        self._changed.clear()

    def _count(self) -> None:
        """Count the new clusters as used, among them those of new refcount blocks, and make it durable."""
        per_block = self._cluster // 2
        first, new = self._counted, []
        number = first // per_block
        while number * per_block < self._end:
            if number >= len(self._counts_table):
                raise UnsupportedError(f"{self._path}: its table of reference counts is full: export it again")
            if not self._counts_table[number]:
                self._counts_table[number] = self._new() * self._cluster
                new.append(number)
            number += 1
        os.ftruncate(self._file, self._end * self._cluster)
        self._sync()
        while first < self._end:
            number, inside = divmod(first, per_block)
            count = min(per_block - inside, self._end - first)
            self._put(b"\0\1" * count, self._counts_table[number] + 2 * inside)
            first += count
        self._sync()
        for number in new:
            entry = packed(array("Q", [self._counts_table[number]]))
            self._put(entry, self._header.refcounts_offset + 8 * number)
        self._sync()
        self._counted = self._end

    def _put(self, data: bytes, place: int) -> None:
        write_all(self._file, self._path, memoryview(data), place)

    def _sync(self) -> None:
        try:
            os.fsync(self._file)
        except OSError as error:
            raise TransferError(f"{self._path}: cannot be written: {error.strerror}") from error


def _require_own(file: ImageFile) -> Header:
    opening = read_opening(file)
    header = opening.header
    wrong = ""
    if opening.backing is not None:
        wrong = "has a backing file"
    elif header.snapshots:
        wrong = "has internal snapshots"
    elif header.version != 3 or header.extended or header.refcount_order != 4:
        wrong = "has a form of qcow2 that vmkeep only reads"
    if wrong:
        raise UnsupportedError(f"{file.name}: {wrong}, so that nothing can be written into it: export it again")
    table = header.refcounts_clusters * header.cluster
    if not header.refcounts_offset or header.refcounts_offset + table > file.size or table > 8 << 20:
        raise UsageError(f"{file.name}: is damaged: its reference counts would lie at byte {header.refcounts_offset}")
    return header


def open_qcow2_target(path: Path) -> Qcow2Target:
    """Open a qcow2 image to write into it in place; see :class:`Qcow2Target`."""
    return Qcow2Target(path)
