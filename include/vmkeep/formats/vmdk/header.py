"""The header of a sparse extent, as VMware's "Virtual Disk Format 5.0" describes it.

It is one sector, little-endian: magic, version, flags, capacity, grain size, place and size of the descriptor, entries
of a grain table, places of the redundant grain directory and of the grain directory, size of all metadata, a byte for
an unclean shutdown, four bytes that a transfer as text would damage, and the method of compression. Places and sizes
are in sectors.
"""

from __future__ import annotations

import struct
import sys
from array import array
from enum import IntEnum

from vmkeep.lateclass import dataclass

SECTOR = 512
MAGIC = b"KDMV"
GRAIN = 1 << 16
"""Bytes of a grain that vmkeep writes."""
TABLE_ENTRIES = 512
"""Number of grains that a grain table names."""
TABLE_BYTES = 4 * TABLE_ENTRIES
TABLE_COVERS = GRAIN * TABLE_ENTRIES
"""Bytes of the disk that a grain table describes."""
DIRECTORY_AT_END = (1 << 64) - 1
"""Place of a grain directory that only the footer tells."""
MOST_SECTORS = 1 << 32
"""Sectors of a file that a table can name, because its entries have 32 bits."""
DEFLATE = 1

FLAG_NEWLINES = 1
FLAG_REDUNDANT = 2
FLAG_ZEROED = 4
FLAG_COMPRESSED = 1 << 16
FLAG_MARKERS = 1 << 17

NEWLINES = b"\n \r\n"
MARKER = struct.Struct("<QII")
"""Sectors that follow a marker of metadata, zero, and its kind. In front of a grain: place, size and first bytes."""
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH")


class MarkerKind(IntEnum):
    """The content that follows a marker in a stream-optimised image."""

    END = 0
    TABLE = 1
    DIRECTORY = 2
    FOOTER = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHeader:
    """The header of a hosted sparse extent. All sizes and places are in sectors."""

    version: int = 1
    flags: int
    capacity: int
    grain: int = GRAIN // SECTOR
    descriptor_at: int = 0
    descriptor_size: int = 0
    table_entries: int = TABLE_ENTRIES
    redundant_at: int = 0
    directory_at: int
    overhead: int
    unclean: int = 0
    newlines: bytes = NEWLINES
    compression: int = 0

    def pack(self) -> bytes:
        """Return the header's sector."""
        return _HEADER.pack(
            MAGIC,
            self.version,
            self.flags,
            self.capacity,
            self.grain,
            self.descriptor_at,
            self.descriptor_size,
            self.table_entries,
            self.redundant_at,
            self.directory_at,
            self.overhead,
            self.unclean,
            self.newlines,
            self.compression,
        ).ljust(SECTOR, b"\0")


def unpack_header(sector: bytes) -> SparseHeader:
    """Return the header that a sector holds, without looking at its values. The sector begins with :data:`MAGIC`."""
    _, *values = _HEADER.unpack_from(sector)
    names = SparseHeader.__dataclass_fields__
    return SparseHeader(**dict(zip(names, values, strict=True)))


def sectors(size: int) -> int:
    """Return the number of sectors that hold some bytes."""
    return -(-size // SECTOR)


def padded(data: bytes) -> bytes:
    """Return some bytes with zeros up to a whole number of sectors."""
    return data.ljust(sectors(len(data)) * SECTOR, b"\0")


def pack_marker(kind: MarkerKind, size: int) -> bytes:
    """Return the sector in front of a table, a directory or a footer of ``size`` sectors."""
    return MARKER.pack(size, 0, kind).ljust(SECTOR, b"\0")


def little_endian(entries: array[int]) -> bytes:
    """Return the bytes of a table's entries. Consumes the array, because a big-endian machine swaps them in place."""
    if sys.byteorder == "big":
        entries.byteswap()
    return entries.tobytes()
