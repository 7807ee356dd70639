"""Opens a hosted sparse extent, the kind of desktop programs and of OVF, plain or compressed."""

from __future__ import annotations

from functools import lru_cache, partial

from isal import isal_zlib

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.formats.vmdk.descriptor import LARGEST_DESCRIPTOR
from vmkeep.formats.vmdk.extents import require_grain
from vmkeep.formats.vmdk.grains import GrainTables, Kind, Shape, read_directory
from vmkeep.formats.vmdk.header import (
    DEFLATE,
    DIRECTORY_AT_END,
    FLAG_COMPRESSED,
    FLAG_MARKERS,
    FLAG_NEWLINES,
    FLAG_ZEROED,
    MAGIC,
    MARKER,
    NEWLINES,
    SECTOR,
    MarkerKind,
    SparseHeader,
    unpack_header,
)
from vmkeep.lateclass import dataclass

_NEWEST = 3
_MOST_ENTRIES = 4096
_GRAIN_MARKER = 12
_GRAINS_KEPT = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedHeader:
    """A header that was checked."""

    header: SparseHeader
    descriptor: bytes
    """The descriptor inside the file; empty: there is none."""

    @property
    def capacity(self) -> int:
        """Bytes of the disk in the extent."""
        return self.header.capacity * SECTOR

    @property
    def compressed(self) -> bool:
        """Whether the grains are compressed."""
        return bool(self.header.flags & FLAG_COMPRESSED)


def read_hosted(file: ImageFile) -> HostedHeader:
    """Read the header, or the footer that replaces it, and the descriptor inside.

    :raises UsageError: the file is damaged or cut off.
    :raises UnsupportedError: the extent has a feature that cannot be read.
    """
    header = unpack_header(_sector(file, 0))
    if header.directory_at == DIRECTORY_AT_END:
        header = _footer(file)
    where = f"{file.name}: the header"
    if not 1 <= header.version <= _NEWEST:
        raise UnsupportedError(f"{where} is of version {header.version}, and versions up to {_NEWEST} are known")
    if header.flags & FLAG_NEWLINES and header.newlines != NEWLINES:
        raise UsageError(f"{where} was changed by a transfer as text (byte 73): copy the file again, in binary mode")
    if header.unclean:
        raise UsageError(
            f"{file.name}: is in use, or was not closed properly (byte 72): switch its VM off; if it is off, start and"
            " stop it, or repair the disk with 'vmware-vdiskmanager -R'"
        )
    if not 0 < header.capacity < 1 << 51:
        raise UsageError(f"{where} tells a disk of {header.capacity} sectors (byte 12)")
    require_grain(file, header.grain, smallest=1)
    if not 1 <= header.table_entries <= _MOST_ENTRIES:
        raise UsageError(f"{where} tells grain tables of {header.table_entries} entries (byte 44)")
    if header.flags & FLAG_COMPRESSED and (header.compression != DEFLATE or not header.flags & FLAG_MARKERS):
        raise UnsupportedError(f"{where} tells a compression that is not known (number {header.compression}, byte 77)")
    size = header.descriptor_size * SECTOR
    if size > LARGEST_DESCRIPTOR:
        raise UsageError(f"{where} tells a descriptor of {size} bytes (byte 36)")
    descriptor = file.read(header.descriptor_at * SECTOR, size) if header.descriptor_at else b""
    return HostedHeader(header=header, descriptor=descriptor.partition(b"\0")[0])


def _footer(file: ImageFile) -> SparseHeader:
    """Return the footer, which lies between its marker and the marker of the end."""
    at = file.size - 3 * SECTOR
    if at > 0:
        marker = MARKER.unpack_from(file.read(at, SECTOR))
        end = MARKER.unpack_from(file.read(at + 2 * SECTOR, SECTOR))
        footer = file.read(at + SECTOR, SECTOR)
        if marker == (1, 0, MarkerKind.FOOTER) and end == (0, 0, MarkerKind.END) and footer[:4] == MAGIC:
            header = unpack_header(footer)
            if header.directory_at != DIRECTORY_AT_END:
                return header
    raise UsageError(
        f"{file.name}: has no footer at byte {at}, so it is cut off: copy or download the file again (it has"
        f" {file.size} bytes)"
    )


def open_hosted(file: ImageFile, hosted: HostedHeader, length: int) -> GrainTables:
    """Open the tables of an extent. ``length``: bytes of the disk in it."""
    header = hosted.header
    shape = Shape(length=length, grain=header.grain * SECTOR, entries=header.table_entries, width=4)
    directory = read_directory(file, header.directory_at * SECTOR, shape)
    data = Kind.COMPRESSED if hosted.compressed else Kind.DATA
    zeroed = bool(header.flags & FLAG_ZEROED)

    def table_at(number: int) -> int:
        return directory[number] * SECTOR

    return GrainTables(file, shape, table_at, partial(_entry, data, zeroed))


def _entry(data: Kind, zeroed: bool, entry: int) -> tuple[Kind, int]:
    if entry > 1 or (entry and not zeroed):
        return data, entry * SECTOR
    return (Kind.ZEROS if entry else Kind.NOWHERE), 0


class CompressedGrains:
    """The grains of a stream-optimised image. Keeps the last few, because a reader may ask for parts of one."""

    def __init__(self, file: ImageFile, grain: int) -> None:
        """:param grain: bytes of a grain."""
        self._file = file
        self._grain = grain
        self.read = lru_cache(maxsize=_GRAINS_KEPT)(self._read)

    def _read(self, place: int, start: int, length: int) -> bytes:
        """Return a grain's bytes.

        :param place: byte of the file at which the grain's marker begins.
        :param start: byte of the extent at which the grain begins; its marker has to say so, too.
        :param length: bytes of the grain that lie on the disk.
        :raises UsageError: the grain is damaged. The message names the byte of the file.
        """
        limit = _GRAIN_MARKER + self._grain + self._grain // 8 + SECTOR  # because deflate makes nothing much longer
        data = self._file.read(place, max(_GRAIN_MARKER, min(limit, self._file.size - place)))
        sector, size, _ = MARKER.unpack_from(data.ljust(MARKER.size, b"\0"))
        if sector * SECTOR != start or not 0 < size <= len(data) - _GRAIN_MARKER:
            raise self._damaged(place, f"the grain there is of byte {sector * SECTOR} of the disk, and not of {start}")
        inflating = isal_zlib.decompressobj()
        try:
            content: bytes = inflating.decompress(data[_GRAIN_MARKER : _GRAIN_MARKER + size], self._grain + 1)
        except isal_zlib.IsalError as error:  # type: ignore[misc]  # because its stub names an instance
            raise self._damaged(place, f"the grain there cannot be decompressed: {error}") from error
        if not inflating.eof or not length <= len(content) <= self._grain:
            raise self._damaged(place, f"the grain there does not have the {self._grain} bytes that it should")
        return content

    def _damaged(self, place: int, why: str) -> UsageError:
        return UsageError(f"{self._file.name}: is damaged at byte {place}: {why}")


def _sector(file: ImageFile, at: int) -> bytes:
    return file.read(at, SECTOR)
