"""Records of the master file table, and the attributes in them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from vmkeep.guest.filesystems.ntfs.boot import Boot
from vmkeep.guest.filesystems.ntfs.pieces import Piece
from vmkeep.guest.filesystems.ntfs.streams import Stream
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.guest.filesystems.values import utf16_name
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

STANDARD_INFORMATION: Final = 0x10
ATTRIBUTE_LIST: Final = 0x20
FILE_NAME: Final = 0x30
VOLUME_NAME: Final = 0x60
VOLUME_INFORMATION: Final = 0x70
DATA: Final = 0x80
INDEX_ROOT: Final = 0x90
INDEX_ALLOCATION: Final = 0xA0
BITMAP: Final = 0xB0
REPARSE_POINT: Final = 0xC0
EXTENDED: Final = 0xE0
_END: Final = 0xFFFFFFFF

_IN_USE: Final = 0x1
_FOLDER: Final = 0x2
_STRIDE: Final = 512
_RECORD_BITS: Final = (1 << 48) - 1
_KEPT: Final = 256
"""Parsed records that are kept."""
_ROUNDS: Final = 256
"""Steps in which the parts of the master file table may lead to one another."""
_MOST_RECORDS_OF_A_FILE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Record:
    """A file, a folder, or something of NTFS itself."""

    number: int
    sequence: int
    is_folder: bool
    pieces: tuple[Piece, ...]
    """All attributes, those in other records included."""

    def of(self, kind: int, name: str = "") -> tuple[Piece, ...]:
        """Return the pieces of an attribute, in order."""
        return tuple(piece for piece in self.pieces if piece.type == kind and piece.name == name)

    def value(self, kind: int) -> bytes | None:
        """Return the value of a resident attribute without a name; ``None``: there is none."""
        return next((piece.value for piece in self.of(kind) if piece.is_resident), None)


def repair_strides(volume: Volume, data: bytes, what: str) -> bytes:
    """Put the last two bytes of each 512 back into their places, after having checked their numbers.

    :raises CorruptError: a write of this structure was cut.
    """
    offset, count = struct.unpack_from("<HH", data, 4)
    if count != len(data) // _STRIDE + 1 or offset + count * 2 > min(len(data), _STRIDE - 2):
        raise volume.damaged(f"{what} has a wrong header")
    numbers = data[offset : offset + count * 2]
    mended = bytearray(data)
    for at in range(1, count):
        end = at * _STRIDE
        if mended[end - 2 : end] != numbers[:2]:
            raise volume.damaged(f"{what} was written only in part")
        mended[end - 2 : end] = numbers[at * 2 : at * 2 + 2]
    return bytes(mended)


class Table:
    """The master file table."""

    def __init__(self, volume: Volume, boot: Boot) -> None:
        """Read the table's own record, which says where the others are.

        :raises CorruptError: there is none.
        """
        self._volume = volume
        self._boot = boot
        self._kept: Recent[int, Record] = Recent(_KEPT)
        _, _, _, pieces = self._parse(0, volume.read(boot.table * boot.cluster, boot.record))
        self._stream = self._beginning(pieces)
        if any(piece.type == ATTRIBUTE_LIST for piece in pieces):
            self._find_rest(pieces)
        self._stream = self.stream(self.record(0), DATA)
        self._kept.clear()

    def _beginning(self, pieces: Iterable[Piece]) -> Stream:
        """Return the beginning of the table, as far as some pieces of its record tell it."""
        own = (piece for piece in pieces if piece.type == DATA and not piece.name)
        in_order = tuple(sorted(own, key=lambda piece: piece.first_cluster))
        return Stream(self._volume, self._boot, in_order, what="the MFT", is_beginning=True)

    def _find_rest(self, pieces: list[Piece]) -> None:
        """Read the records in which the table's own record is continued. Each lies in a part that is known by then."""
        waiting = self._continued(0, pieces)
        for _ in range(_ROUNDS):
            if not waiting:
                return
            size = self._stream.size
            near = {number for number in waiting if (number + 1) * self._boot.record <= size}
            if not near:
                raise self._volume.damaged("the master file table does not tell where its records lie")
            pieces = [*pieces, *(piece for number in near for piece in self._continuation(0, number))]
            waiting = [number for number in waiting if number not in near]
            self._stream = self._beginning(pieces)
        if waiting:
            raise self._volume.damaged("the master file table is continued in too many steps")

    def stream(self, record: Record, kind: int, name: str = "") -> Stream:
        """Return an attribute's clusters.

        :raises CorruptError: the attribute contradicts itself, or there is none.
        """
        what = f"the attribute 0x{kind:x} of the record {record.number}"
        return Stream(self._volume, self._boot, record.of(kind, name), what=what)

    def follow(self, reference: int) -> Record:
        """Return the record that a reference names.

        :raises CorruptError: it was given to another file since.
        """
        record = self.record(reference & _RECORD_BITS)
        if reference >> 48 and reference >> 48 != record.sequence:
            raise self._volume.damaged(f"a folder names the record {record.number}, which belongs to another file now")
        return record

    def record(self, number: int) -> Record:
        """Return a record with all its attributes.

        :raises CorruptError: it is not in use, or contradicts itself.
        """
        known = self._kept.get(number)
        if known is not None:
            return known
        in_use, base, head, pieces = self._parse(number, self._read(number))
        if not in_use or base:
            raise self._volume.damaged(f"a folder names the record {number}, which is not in use")
        if any(piece.type == ATTRIBUTE_LIST for piece in pieces):
            pieces = self._complete(number, pieces)
        sequence, is_folder = head
        return self._kept.put(number, Record(number, sequence, is_folder, tuple(pieces)))

    def _read(self, number: int) -> bytes:
        start = number * self._boot.record
        if start + self._boot.record > self._stream.size:
            raise self._volume.damaged(f"it names the record {number}, but the master file table ends before it")
        return self._stream.read(start, self._boot.record)

    def _parse(self, number: int, data: bytes) -> tuple[bool, int, tuple[int, bool], list[Piece]]:
        """Return whether a record is in use, its base, its sequence number and kind, and its pieces."""
        what = f"the record {number} of the master file table"
        if data[:4] != b"FILE":
            raise self._volume.damaged(f"{what} has no signature")
        data = repair_strides(self._volume, data, what)
        sequence, _, first, flags, used = struct.unpack_from("<HHHHI", data, 16)
        (base,) = struct.unpack_from("<Q", data, 32)
        pieces = list(self._pieces(what, data[: min(used, len(data))], first))
        return bool(flags & _IN_USE), base & _RECORD_BITS, (sequence, bool(flags & _FOLDER)), pieces

    def _pieces(self, what: str, data: bytes, at: int) -> Iterator[Piece]:
        while at + 4 <= len(data):
            (kind,) = struct.unpack_from("<I", data, at)
            if kind == _END:
                return
            (length,) = struct.unpack_from("<I", data, at + 4) if at + 8 <= len(data) else (0,)
            raw = data[at : at + length]
            if length < 24 or len(raw) < length or (raw[8] and length < 64):
                break
            name_at, name_length = struct.unpack_from("<H", raw, 10)[0], raw[9] * 2
            if name_at + name_length > length:
                break
            if not raw[8] and sum(struct.unpack_from("<IH", raw, 16)) > length:
                break
            yield Piece(kind, utf16_name(raw[name_at : name_at + name_length]), raw)
            at += length
        raise self._volume.damaged(f"{what} has an attribute that reaches beyond it")

    def _complete(self, number: int, pieces: list[Piece]) -> list[Piece]:
        """Add the attributes that lie in other records."""
        found = [piece for piece in pieces if piece.type != ATTRIBUTE_LIST]
        for other in self._continued(number, pieces):
            found += self._continuation(number, other)
        return sorted(found, key=lambda piece: (piece.type, piece.name, piece.first_cluster))

    def _continued(self, number: int, pieces: Iterable[Piece]) -> list[int]:
        """Return the records in which a record is continued."""
        own = tuple(piece for piece in pieces if piece.type == ATTRIBUTE_LIST)
        listing = Stream(self._volume, self._boot, own, what=f"the attribute list of the record {number}")
        return self._listed(number, listing.read(0, listing.size))

    def _continuation(self, number: int, other: int) -> list[Piece]:
        """Return the attributes of a record that lie in another one."""
        in_use, base, _, more = self._parse(other, self._read(other))
        if not in_use or base != number:
            raise self._volume.damaged(f"the record {number} is continued in {other}, which belongs to another file")
        return more

    def _listed(self, number: int, data: bytes) -> list[int]:
        others: dict[int, None] = {}
        at = 0
        while at + 26 <= len(data):
            length, reference = struct.unpack_from("<H", data, at + 4)[0], struct.unpack_from("<Q", data, at + 16)[0]
            if length < 26:
                raise self._volume.damaged(f"the attribute list of the record {number} has a wrong entry")
            if reference & _RECORD_BITS != number:
                others[reference & _RECORD_BITS] = None
            if len(others) > _MOST_RECORDS_OF_A_FILE:
                raise self._volume.damaged(f"the record {number} is continued in too many others")
            at += length
        return list(others)
