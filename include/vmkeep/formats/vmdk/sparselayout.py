"""Plans sparse VMDKs: one file, or pieces below 2 GiB, with tables that name each stored grain.

A file begins with its header, its descriptor if it has one, the redundant grain directory with its tables, and the
grain directory with its tables. The grains follow in the disk's order. Every table has its place, also one that names
no grain: as a hole it takes no room, and its place follows from its number. So the plan needs little memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

from vmkeep.errors import UnsupportedError
from vmkeep.formats.layout import PlannedFile, Run
from vmkeep.formats.vmdk.describing import ExtentLine, VmdkFacts, describe
from vmkeep.formats.vmdk.header import (
    FLAG_NEWLINES,
    FLAG_REDUNDANT,
    GRAIN,
    MOST_SECTORS,
    SECTOR,
    TABLE_BYTES,
    TABLE_COVERS,
    SparseHeader,
    little_endian,
    sectors,
)
from vmkeep.formats.vmdk.storedgrains import StoredGrains
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent

_PIECE = 2047 << 20
"""Bytes of the disk in each piece of a split image. VMware's programs split there, so that a full piece stays below
2 GiB with its tables."""
_MOST_PIECES = 4099
"""Pieces of a disk of 8 TiB, the largest that VMware's desktop programs take."""
_DESCRIPTOR_SECTORS = 20
_AT_ONCE = 32
"""Number of grain tables in a run."""
_PLACES_AT_ONCE = 1 << 18
"""Number of entries of a grain directory in a run."""


def plan_thin(facts: VmdkFacts, capacity: int, stored: Sequence[Extent]) -> SparseVmdk:
    """Plan ``monolithicSparse``: one file, with the descriptor inside."""
    line = ExtentLine(size=capacity, kind="SPARSE", file=f"{facts.name}.vmdk")
    descriptor = describe(facts, "monolithicSparse", capacity, [line])
    return SparseVmdk(capacity, stored, names=(line.file,), piece=capacity, inside=descriptor)


def plan_split(facts: VmdkFacts, capacity: int, stored: Sequence[Extent]) -> SparseVmdk:
    """Plan ``twoGbMaxExtentSparse``: a descriptor, and a sparse file for every 2,047 MiB of the disk."""
    count = -(-capacity // _PIECE)
    if count > _MOST_PIECES:
        raise UnsupportedError(
            f"{facts.name}: a disk of {capacity} bytes would need {count} files of 2 GiB, and VMware's programs take"
            f" at most {_MOST_PIECES}: choose another format"
        )
    lines = [
        ExtentLine(
            size=min(_PIECE, capacity - number * _PIECE), kind="SPARSE", file=f"{facts.name}-s{number + 1:03}.vmdk"
        )
        for number in range(count)
    ]
    descriptor = describe(facts, "twoGbMaxExtentSparse", capacity, lines)
    names = (f"{facts.name}.vmdk", *(line.file for line in lines))
    return SparseVmdk(capacity, stored, names=names, piece=_PIECE, beside=descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """A sparse file, and the places of its parts in sectors."""

    file: int
    start: int
    """First byte of the disk in it."""
    length: int
    """Bytes of the disk in it."""
    descriptor: bytes
    grains: int
    """Number of grains that it stores."""

    @property
    def tables(self) -> int:
        return -(-self.length // TABLE_COVERS)

    @property
    def redundant_at(self) -> int:
        return 1 + (_DESCRIPTOR_SECTORS if self.descriptor else 0)

    @property
    def directory_at(self) -> int:
        return self.redundant_at + self._directory_sectors + self.tables * sectors(TABLE_BYTES)

    @property
    def overhead(self) -> int:
        """The sectors before the first grain, a whole number of grains."""
        end = 2 * self.directory_at - self.redundant_at
        return -(-end // sectors(GRAIN)) * sectors(GRAIN)

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self.overhead * SECTOR + self.grains * GRAIN

    @property
    def _directory_sectors(self) -> int:
        return sectors(4 * self.tables)

    def header(self) -> bytes:
        """Return the file's first sector."""
        return SparseHeader(
            flags=FLAG_NEWLINES | FLAG_REDUNDANT,
            capacity=self.length // SECTOR,
            descriptor_at=1 if self.descriptor else 0,
            descriptor_size=_DESCRIPTOR_SECTORS if self.descriptor else 0,
            redundant_at=self.redundant_at,
            directory_at=self.directory_at,
            overhead=self.overhead,
        ).pack()

    def tables_at(self, directory_at: int) -> int:
        """Return the sector of the first table of a directory."""
        return directory_at + self._directory_sectors


class SparseVmdk:
    """The layout of ``monolithicSparse`` and of ``twoGbMaxExtentSparse``."""

    def __init__(
        self,
        capacity: int,
        stored: Sequence[Extent],
        *,
        names: Sequence[str],
        piece: int,
        inside: bytes = b"",
        beside: bytes = b"",
    ) -> None:
        """Plan the files.

        :param piece: bytes of the disk in each sparse file.
        :param inside: the descriptor that a single sparse file holds.
        :param beside: the descriptor in a file of its own, which is the first one then.
        :raises UnsupportedError: a file would be larger than its tables can name.
        """
        self.capacity = capacity
        self._stored = StoredGrains(stored, capacity)
        self._piece = piece
        self._inside = inside
        self._beside = beside
        first = 1 if beside else 0
        pieces = map(self._piece_at, range(len(names) - first))
        sizes = [len(beside)] * first + [each.size for each in pieces]
        self.files: Sequence[PlannedFile] = tuple(
            PlannedFile(name=name, size=size) for name, size in zip(names, sizes, strict=True)
        )
        largest = max(self.files, key=lambda file: file.size)
        if largest.size // SECTOR >= MOST_SECTORS:
            raise UnsupportedError(
                f"{largest.name}: would have {largest.size} bytes, and a sparse VMDK can name only the first"
                f" {MOST_SECTORS * SECTOR} of a file: choose another format"
            )

    def runs(self) -> Iterator[Run]:
        """Yield the runs of all files. The tables are made as the runs are taken."""
        if self._beside:
            yield Run(file=0, offset=0, length=len(self._beside), data=self._beside)
        for number in range(-(-self.capacity // self._piece)):
            piece = self._piece_at(number)
            yield _given(piece, 0, piece.header())
            if piece.descriptor:
                yield _given(piece, 1, piece.descriptor)
            for directory_at in (piece.redundant_at, piece.directory_at):
                yield from _directory(piece, directory_at)
                yield from self._tables(piece, piece.tables_at(directory_at))
            yield from self._grains(piece, piece.start, piece.start + piece.length)

    def place(self, start: int, length: int) -> Iterator[Run]:
        """Yield the places of a part of the disk.

        :raises ValueError: a byte of the part has no place, because the plan has it as zeros.
        """
        at = start
        while at < start + length:
            piece = self._piece_at(at // self._piece)
            stop = min(start + length, piece.start + piece.length)
            for run in self._grains(piece, at, stop):
                if run.start != at:
                    break
                at += run.length
                yield run
            if at < stop:
                raise ValueError(f"byte {at} of the disk was planned as zeros")

    def _piece_at(self, number: int) -> _Piece:
        start = number * self._piece
        if not 0 <= start < self.capacity:
            raise ValueError(f"byte {start} lies beyond a disk of {self.capacity} bytes")
        stop = min(self.capacity, start + self._piece)
        return _Piece(
            file=number + (1 if self._beside else 0),
            start=start,
            length=stop - start,
            descriptor=self._inside,
            grains=self._stored.before(stop) - self._stored.before(start),
        )

    def _grains(self, piece: _Piece, start: int, stop: int) -> Iterator[Run]:
        first = self._stored.before(piece.start)
        for left, right in self._stored.within(start, stop):
            grain, inside = divmod(left, GRAIN)
            number = self._stored.before(grain * GRAIN) - first
            offset = piece.overhead * SECTOR + number * GRAIN + inside
            yield Run(file=piece.file, offset=offset, length=right - left, start=left)

    def _tables(self, piece: _Piece, tables_at: int) -> Iterator[Run]:
        """Yield the tables that name grains, some neighbours together."""
        covers = _AT_ONCE * TABLE_COVERS
        end = piece.start + piece.length
        first = self._stored.before(piece.start)
        at = piece.start
        while (pair := next(self._stored.within(at, end), None)) is not None:
            number = (pair[0] - piece.start) // covers
            at = piece.start + number * covers
            stop = min(end, at + covers)
            entries = array("I", bytes(TABLE_BYTES * -(-(stop - at) // TABLE_COVERS)))
            for left, right in self._stored.within(at, stop):
                rank = self._stored.before(left) - first
                place = piece.overhead + rank * sectors(GRAIN)
                count = -(-(right - left) // GRAIN)
                slot = (left - at) // GRAIN
                entries[slot : slot + count] = array("I", range(place, place + count * sectors(GRAIN), sectors(GRAIN)))
            yield _given(piece, tables_at + number * _AT_ONCE * sectors(TABLE_BYTES), little_endian(entries))
            at = stop


def _directory(piece: _Piece, directory_at: int) -> Iterator[Run]:
    """Yield a grain directory. It names every table, because a table of a sparse file always has its place."""
    step = sectors(TABLE_BYTES)
    first = piece.tables_at(directory_at)
    for number in range(0, piece.tables, _PLACES_AT_ONCE):
        stop = min(piece.tables, number + _PLACES_AT_ONCE)
        data = little_endian(array("I", range(first + number * step, first + stop * step, step)))
        yield Run(file=piece.file, offset=directory_at * SECTOR + 4 * number, length=len(data), data=data)


def _given(piece: _Piece, sector: int, data: bytes) -> Run:
    return Run(file=piece.file, offset=sector * SECTOR, length=len(data), data=data)
