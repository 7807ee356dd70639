"""The items of btrfs that files and folders are made of."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from vmkeep.guest.filesystems.btrfs.nodes import Root
from vmkeep.guest.filesystems.values import kind_of_mode, moment
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileKind

INODE: Final = 1
XATTR: Final = 24
FOLDER_INDEX: Final = 96
EXTENT: Final = 108
ROOT: Final = 132
ROOT_BACK_REFERENCE: Final = 144
CHUNK: Final = 228
LARGEST: Final = (1 << 64) - 1

_ENTRY: Final = struct.Struct("<QBQQHHB")
_INLINE: Final = 0
_WRITTEN: Final = 1
_NO_SUMS: Final = 0x1
_ROOM_OF_HEAD: Final = 21


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode's item."""

    raw: bytes

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return int(struct.unpack_from("<Q", self.raw, 16)[0])

    @property
    def owner(self) -> tuple[int, int, int, int]:
        """Number of links, user, group and mode."""
        links, uid, gid, mode = struct.unpack_from("<4I", self.raw, 40)
        return links, uid, gid, mode

    @property
    def kind(self) -> FileKind:
        """The kind that the mode tells."""
        return kind_of_mode(self.owner[3])

    @property
    def has_sums(self) -> bool:
        """Whether the content has checksums. Linux makes none for files that are overwritten in place."""
        return not struct.unpack_from("<Q", self.raw, 64)[0] & _NO_SUMS

    @property
    def times(self) -> tuple[datetime | None, datetime | None, datetime | None]:
        """When the inode and the content changed, and when it was made."""
        changed, modified, created = (moment(*struct.unpack_from("<qI", self.raw, at)) for at in (124, 136, 148))
        return changed, modified, created


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentItem:
    """A part of a file."""

    start: int
    length: int
    compression: int
    encryption: int
    inline: bytes | None
    logical: int
    """0: a hole, or an extent that was never written."""
    stored: int
    """Bytes on the device."""
    unpacked: int
    offset: int
    """Byte of the unpacked extent at which this part begins."""


def parse_extent(start: int, raw: bytes) -> ExtentItem | None:
    """Read an extent's item; ``None``: it is cut."""
    if len(raw) < _ROOM_OF_HEAD:
        return None
    unpacked, compression, encryption, _, kind = struct.unpack_from("<QBBHB", raw, 8)
    if kind == _INLINE:
        return ExtentItem(
            start=start,
            length=unpacked,
            compression=compression,
            encryption=encryption,
            inline=raw[_ROOM_OF_HEAD:],
            logical=0,
            stored=len(raw) - _ROOM_OF_HEAD,
            unpacked=unpacked,
            offset=0,
        )
    if len(raw) < _ROOM_OF_HEAD + 32:
        return None
    logical, stored, offset, length = struct.unpack_from("<4Q", raw, _ROOM_OF_HEAD)
    return ExtentItem(
        start=start,
        length=length,
        compression=compression,
        encryption=encryption,
        inline=None,
        logical=logical if kind == _WRITTEN else 0,
        stored=stored,
        unpacked=unpacked,
        offset=offset,
    )


def parse_entries(raw: bytes) -> Iterator[tuple[tuple[int, int, int], bytes, bytes]]:
    """Yield the target's key, the name and the value of each entry of a folder, or of extended attributes.

    :raises ValueError: an entry is cut.
    """
    at = 0
    while at < len(raw):
        if at + _ENTRY.size > len(raw):
            raise ValueError("an entry is cut")
        target, kind, offset, _, value_length, name_length, _ = _ENTRY.unpack_from(raw, at)
        middle = at + _ENTRY.size + name_length
        stop = middle + value_length
        if stop > len(raw):
            raise ValueError("an entry is cut")
        yield (target, kind, offset), raw[at + _ENTRY.size : middle], raw[middle:stop]
        at = stop


def parse_root(raw: bytes) -> Root | None:
    """Read the item of a tree's root; ``None``: it is cut."""
    if len(raw) < 239:
        return None
    return Root(struct.unpack_from("<Q", raw, 176)[0], raw[238])
