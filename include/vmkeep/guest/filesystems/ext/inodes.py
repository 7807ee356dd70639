"""One inode of ext2, ext3 or ext4."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Final

from vmkeep.guest.filesystems.ext.superblock import Superblock
from vmkeep.guest.filesystems.values import kind_of_mode, moment
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileKind

ENCRYPTED: Final = 0x800
USES_EXTENTS: Final = 0x80000
_COMPRESSED: Final = 0x200
INLINE: Final = 0x10000000
BASE: Final = 128
"""Bytes of an inode that every version has."""


_FIELDS: Final = struct.Struct("<HHIiiiiHHII4x60s4xII4x2xHHH4x")
"""The first 128 bytes, without those of no use here."""


@dataclass(frozen=True, slots=True)
class Inode:
    """One inode. Its times are read when somebody asks for them."""

    number: int
    raw: bytes
    mode: int
    """Kind and permissions."""
    uid: int
    gid: int
    size: int
    """Bytes of the content."""
    links: int
    """Number of names."""
    flags: int
    area: bytes
    """Sixty bytes that hold block numbers, an extent tree, a short link, or data."""
    attribute_block: int
    """The block with extended attributes; 0: none."""
    sectors: int
    """The lower 32 bits of the number of 512-byte units on the disk."""
    extra: int
    """Bytes behind the first 128 that hold fields."""

    @property
    def kind(self) -> FileKind:
        """The kind that the mode tells."""
        return kind_of_mode(self.mode)

    @property
    def refusal(self) -> str:
        """The reason why the content cannot be read; empty: it can."""
        if self.flags & ENCRYPTED:
            return "it is encrypted (fscrypt), and the key is not in the backup"
        if self.flags & _COMPRESSED:
            return "it is compressed by e2compr, which vmkeep cannot read"
        return ""

    @property
    def modified(self) -> datetime | None:
        """When the content changed."""
        return self._time(0x10, 0x88)

    @property
    def changed(self) -> datetime | None:
        """When the inode changed."""
        return self._time(0xC, 0x84)

    @property
    def created(self) -> datetime | None:
        """When the file was made; ``None``: the inode is too small to tell."""
        return self._time(0x90, 0x94) if self.extra >= 0x98 - BASE else None

    def _time(self, at: int, more: int) -> datetime | None:
        (seconds,) = struct.unpack_from("<i", self.raw, at)
        if self.extra < more + 4 - BASE:
            return moment(seconds)
        (extra,) = struct.unpack_from("<I", self.raw, more)
        return moment(seconds + ((extra & 3) << 32), extra >> 2)


def _parse(number: int, raw: bytes) -> Inode:
    mode, uid, low, _, _, _, _, gid, links, sectors, flags, area, block, high, block_high, uid_high, gid_high = (
        _FIELDS.unpack_from(raw)
    )
    return Inode(
        number=number,
        raw=raw,
        mode=mode,
        uid=uid | uid_high << 16,
        gid=gid | gid_high << 16,
        size=low | high << 32,
        links=links,
        flags=flags,
        area=area,
        attribute_block=block | block_high << 32,
        sectors=sectors,
        extra=struct.unpack_from("<H", raw, 0x80)[0] if len(raw) > BASE else 0,
    )


def read_inode(volume: Volume, found: Superblock, number: int) -> Inode:
    """Read an inode that a folder names.

    :raises CorruptError: there is no inode of that number, or it is not in use.
    """
    inode = _parse(number, volume.read(found.inode_place(volume, number), found.inode_size))
    if inode.extra and (inode.extra % 4 or inode.extra + BASE > found.inode_size):
        raise volume.damaged(f"the inode {number} has {inode.extra} more bytes of fields than there is room for")
    if not inode.mode or not inode.links:
        raise volume.damaged(f"a folder names the inode {number}, which is not in use")
    return inode
