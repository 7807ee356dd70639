"""Opens the extents of a VMDK for reading: flat ones, and the sparse ones of desktop programs, ESX and ESXi.

Sources: VMware's "Virtual Disk Format 5.0" for hosted sparse extents and their compressed form, and for those of ESX
(COWD). No vendor's document describes SEsparse; its layout is that which QEMU reads.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.vmdk.grains import GrainTables, Kind, Part, Shape, read_directory, read_numbers
from vmkeep.formats.vmdk.header import SECTOR
from vmkeep.model.extents import Pair

COWD_MAGIC = b"COWD"
SESPARSE_MAGIC = 0xCAFEBABE.to_bytes(8, "little")
_SESPARSE_VERSION = 0x2_0000_0001
_SESPARSE_VOLATILE = 0xCAFECAFE
_SESPARSE_GRAIN, _SESPARSE_TABLE = 8, 64
"""Sectors of a grain and of a table; ESXi makes no others."""
_COWD = struct.Struct("<4s7I")
_COWD_ENTRIES = 4096
_LOW_48 = (1 << 48) - 1


class Tables(Protocol):
    """Tells the places of an extent's parts. Thread-safe."""

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the parts that cover a range of the extent, in order."""

    def stored(self) -> Iterator[Pair]:
        """Yield the (start, stop) pairs that the file holds, in order."""


class FlatTables:
    """An extent whose bytes lie in a file in their order."""

    def __init__(self, file: ImageFile, offset: int, length: int) -> None:
        """:raises UsageError: the file ends before the extent does."""
        if offset + length > file.size:
            raise UsageError(
                f"{file.name}: is cut off: the descriptor names {length} bytes at byte {offset}, and the file has"
                f" {file.size}"
            )
        self._file = file
        self._offset = offset
        self._length = length

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the range as one part."""
        yield Part(start, stop, Kind.DATA, self._offset + start)

    def stored(self) -> Iterator[Pair]:
        """Yield the parts of the file that are no holes."""
        stored = self._file.stored()
        if stored is None:
            yield 0, self._length
            return
        for start, stop in stored.pairs():
            left, right = max(0, start - self._offset), min(self._length, stop - self._offset)
            if left < right:
                yield left // SECTOR * SECTOR, min(self._length, -(-right // SECTOR) * SECTOR)


class ZeroTables:
    """An extent of zeros, which has no file."""

    def parts(self, start: int, stop: int) -> Iterator[Part]:
        """Yield the range as zeros."""
        yield Part(start, stop, Kind.ZEROS)

    def stored(self) -> Iterator[Pair]:
        """Yield nothing."""
        yield from ()


def open_cowd(file: ImageFile, length: int) -> GrainTables:
    """Open the sparse extent of a snapshot on ESX, or of an old desktop program.

    :raises UsageError: it is damaged, or holds another number of bytes than the descriptor says.
    """
    magic, version, _, capacity, grain, directory_at, tables, _ = _COWD.unpack(file.read(0, _COWD.size))
    if magic != COWD_MAGIC:
        raise UsageError(f"{file.name}: is no sparse extent of ESX: the file does not begin with COWD")
    if version != 1:
        raise UnsupportedError(f"{file.name}: is a sparse extent of ESX of version {version}, and only 1 is known")
    require_length(file, capacity * SECTOR, length)
    require_grain(file, grain, smallest=1)
    shape = Shape(length=length, grain=grain * SECTOR, entries=_COWD_ENTRIES, width=4)
    if tables < shape.tables:
        raise UsageError(f"{file.name}: is damaged: byte 24 names {tables} tables, and the disk needs {shape.tables}")
    directory = read_directory(file, directory_at * SECTOR, shape)
    return GrainTables(file, shape, partial(_sector_of, directory), _cowd_entry)


def _cowd_entry(entry: int) -> tuple[Kind, int]:
    if entry > 1:
        return Kind.DATA, entry * SECTOR
    return (Kind.ZEROS if entry else Kind.NOWHERE), 0


def _sector_of(directory: array[int], number: int) -> int:
    return directory[number] * SECTOR


def open_sesparse(file: ImageFile, length: int) -> GrainTables:
    """Open the sparse extent of a snapshot on ESXi 6.5 and later.

    :raises UsageError: it is damaged, its journal holds changes that were not carried out, or it holds another number
        of bytes than the descriptor says.
    """
    words = read_numbers(file, 0, SECTOR // 8, 8)
    if file.read(0, 8) != SESPARSE_MAGIC:
        raise UsageError(f"{file.name}: is no SEsparse extent: its first 8 bytes are others")
    if words[1] != _SESPARSE_VERSION or (words[3], words[4]) != (_SESPARSE_GRAIN, _SESPARSE_TABLE) or any(words[5:10]):
        raise UnsupportedError(f"{file.name}: is a SEsparse extent of an unknown kind (bytes 8 to 80)")
    _require_settled(file, words[10] * SECTOR)
    require_length(file, words[2] * SECTOR, length)
    table = _SESPARSE_TABLE * SECTOR
    shape = Shape(length=length, grain=_SESPARSE_GRAIN * SECTOR, entries=table // 8, width=8)
    if words[17] * SECTOR < shape.tables * 8:
        raise UsageError(f"{file.name}: is damaged: byte 136 gives the grain directory {words[17]} sectors, too few")
    directory = read_directory(file, words[16] * SECTOR, shape)
    tables_at, tables_end = words[18] * SECTOR, (words[18] + words[19]) * SECTOR
    grains_at = words[24] * SECTOR

    def table_at(number: int) -> int:
        entry = directory[number]
        if not entry:
            return 0
        at = tables_at + (entry & 0xFFFFFFFF) * table
        if entry >> 32 != 0x1000_0000 or at + table > tables_end:
            raise UsageError(f"{file.name}: is damaged: entry {number} of the grain directory is {entry:#x}")
        return at

    return GrainTables(file, shape, table_at, _sesparse_decoder(file, grains_at))


def _require_settled(file: ImageFile, at: int) -> None:
    magic, _, _, replay = read_numbers(file, at, 4, 8)
    if magic != _SESPARSE_VOLATILE:
        raise UsageError(f"{file.name}: is damaged: byte {at} holds no volatile header")
    if replay:
        raise UsageError(
            f"{file.name}: was not closed properly, and its journal holds changes that only ESXi can carry out: start"
            " and stop its VM there, or consolidate its snapshots, and copy the files again"
        )


def _sesparse_decoder(file: ImageFile, grains_at: int) -> Callable[[int], tuple[Kind, int]]:
    def decode(entry: int) -> tuple[Kind, int]:
        kind = entry >> 60
        if kind == 3:
            number = ((entry & _LOW_48) << 12) | (entry >> 48 & 0xFFF)
            return Kind.DATA, grains_at + number * _SESPARSE_GRAIN * SECTOR
        if kind in (1, 2):
            return Kind.ZEROS, 0
        if entry:
            raise UsageError(f"{file.name}: is damaged: a grain table has the entry {entry:#x}")
        return Kind.NOWHERE, 0

    return decode


def require_length(file: ImageFile, capacity: int, length: int) -> None:
    """Return if an extent of some bytes fits a descriptor. Its last grain may reach further than the disk.

    :raises UsageError: it does not.
    """
    if not length <= capacity < length + (1 << 20):
        raise UsageError(
            f"{file.name}: is damaged, or of another disk: its header tells {capacity} bytes, its descriptor {length}"
        )


def require_grain(file: ImageFile, sectors: int, *, smallest: int) -> None:
    """Return if a grain has a possible size.

    :raises UsageError: it does not.
    """
    if not smallest <= sectors <= 2048 or sectors & (sectors - 1):
        raise UsageError(f"{file.name}: is damaged: its header tells grains of {sectors} sectors")
