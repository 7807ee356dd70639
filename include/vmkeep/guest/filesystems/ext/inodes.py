"""One inode of ext2, ext3 or ext4."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vmkeep.guest.filesystems.ext.superblock import Superblock
from vmkeep.guest.filesystems.values import kind_of_mode, moment
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.guestfiles import FileKind

ENCRYPTED: Final = 0x800
USES_EXTENTS: Final = 0x80000
_COMPRESSED: Final = 0x200
INLINE: Final = 0x10000000
BASE: Final = 128
"""Bytes of an inode that every version has."""
BLOCK_AREA: Final = slice(0x28, 0x64)
"""The sixty bytes that hold block numbers, an extent tree, a short link, or data."""


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode's bytes, with its fields by name."""

    number: int
    raw: bytes

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.raw, at)[0])

    def _half(self, at: int) -> int:
        return int(struct.unpack_from("<H", self.raw, at)[0])

    @property
    def mode(self) -> int:
        """Kind and permissions."""
        return self._half(0)

    @property
    def kind(self) -> FileKind:
        """The kind that the mode tells."""
        return kind_of_mode(self.mode)

    @property
    def uid(self) -> int:
        """The owner."""
        return self._half(2) | self._half(0x78) << 16

    @property
    def gid(self) -> int:
        """The group."""
        return self._half(0x18) | self._half(0x7A) << 16

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._word(4) | self._word(0x6C) << 32

    @property
    def links(self) -> int:
        """Number of names."""
        return self._half(0x1A)

    @property
    def flags(self) -> int:
        """The inode's flags."""
        return self._word(0x20)

    @property
    def area(self) -> bytes:
        """The sixty bytes of :data:`BLOCK_AREA`."""
        return self.raw[BLOCK_AREA]

    @property
    def attribute_block(self) -> int:
        """The block with extended attributes; 0: none."""
        return self._word(0x68) | self._half(0x76) << 32

    @property
    def sectors(self) -> int:
        """The lower 32 bits of the number of 512-byte units on the disk."""
        return self._word(0x1C)

    @property
    def extra(self) -> int:
        """Bytes behind the first 128 that hold fields."""
        return self._half(0x80) if len(self.raw) > BASE else 0

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
        extra = self._word(more)
        return moment(seconds + ((extra & 3) << 32), extra >> 2)


def read_inode(volume: Volume, found: Superblock, number: int) -> Inode:
    """Read an inode that a folder names.

    :raises CorruptError: there is no inode of that number, or it is not in use.
    """
    inode = Inode(number, volume.read(found.inode_place(volume, number), found.inode_size))
    if inode.extra and (inode.extra % 4 or inode.extra + BASE > found.inode_size):
        raise volume.damaged(f"the inode {number} has {inode.extra} more bytes of fields than there is room for")
    if not inode.mode or not inode.links:
        raise volume.damaged(f"a folder names the inode {number}, which is not in use")
    return inode
