"""One inode of XFS."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Final

from vmkeep.guest.filesystems.values import kind_of_mode, moment
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.superblock import Superblock
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileKind

_MAGIC: Final = b"IN"
LOCAL: Final = 1
EXTENTS: Final = 2
BTREE: Final = 3
_REALTIME: Final = 0x1
_BIG_TIME: Final = 0x8
_NREXT64: Final = 0x10
_EPOCH_OF_BIG_TIME: Final = 1 << 31
_BILLION: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fork:
    """The root of an inode's content, or of its attributes."""

    owner: int
    """The inode's number."""
    format: int
    room: bytes
    extents: int
    """Number of extents."""


@dataclass(frozen=True, slots=True)
class Inode:
    """An inode's bytes, with its fields by name."""

    number: int
    raw: bytes

    @property
    def version(self) -> int:
        """2, or 3 on XFS of version 5."""
        return self.raw[4]

    @property
    def mode(self) -> int:
        """Kind and permissions."""
        return int(struct.unpack_from(">H", self.raw, 2)[0])

    @property
    def kind(self) -> FileKind:
        """The kind that the mode tells."""
        return kind_of_mode(self.mode)

    @property
    def uid(self) -> int:
        """The owner."""
        return self._word(8)

    @property
    def gid(self) -> int:
        """The group."""
        return self._word(12)

    @property
    def links(self) -> int:
        """Number of names."""
        return self._word(16)

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._long(56)

    @property
    def is_realtime(self) -> bool:
        """Whether the content lies on the real-time device."""
        return bool(struct.unpack_from(">H", self.raw, 90)[0] & _REALTIME)

    @property
    def content(self) -> Fork:
        """The root of the content."""
        count = self._long(24) if self._flags2 & _NREXT64 else self._word(76)
        stop = self.head + self._fork_offset if self._fork_offset else len(self.raw)
        return Fork(self.number, self.raw[5], self.raw[self.head : stop], count)

    @property
    def attributes(self) -> Fork | None:
        """The root of the extended attributes; ``None``: there are none."""
        if not self._fork_offset:
            return None
        count = self._word(76) if self._flags2 & _NREXT64 else struct.unpack_from(">H", self.raw, 80)[0]
        return Fork(self.number, self.raw[83], self.raw[self.head + self._fork_offset :], count)

    @property
    def modified(self) -> datetime | None:
        """When the content changed."""
        return self._time(40)

    @property
    def changed(self) -> datetime | None:
        """When the inode changed."""
        return self._time(48)

    @property
    def created(self) -> datetime | None:
        """When the file was made; ``None``: version 4 does not tell."""
        return self._time(144) if self.version >= 3 else None

    @property
    def head(self) -> int:
        """Bytes of fields before the forks."""
        return 176 if self.version >= 3 else 100

    @property
    def _fork_offset(self) -> int:
        return self.raw[82] * 8

    @property
    def _flags2(self) -> int:
        return self._long(120) if self.version >= 3 else 0

    def _word(self, at: int) -> int:
        return int(struct.unpack_from(">I", self.raw, at)[0])

    def _long(self, at: int) -> int:
        return int(struct.unpack_from(">Q", self.raw, at)[0])

    def _time(self, at: int) -> datetime | None:
        if self._flags2 & _BIG_TIME:
            seconds, nanoseconds = divmod(self._long(at), _BILLION)
            return moment(seconds - _EPOCH_OF_BIG_TIME, nanoseconds)
        seconds, nanoseconds = struct.unpack_from(">iI", self.raw, at)
        return moment(seconds, nanoseconds)


def read_inode(volume: Volume, found: Superblock, number: int) -> Inode:
    """Read an inode that a folder names.

    :raises CorruptError: there is no inode, or it is not in use.
    """
    inode = Inode(number, volume.read(found.inode_place(volume, number), found.inode_size))
    if inode.raw[:2] != _MAGIC or inode.version not in (1, 2, 3) or (inode.version == 3) != found.has_checksums:
        raise volume.damaged(f"there is no inode {number}, but a folder names it")
    if inode.version == 1:
        raise volume.refused(f"the inode {number} is of version 1, which vmkeep cannot read")
    if not inode.mode or not inode.links:
        raise volume.damaged(f"a folder names the inode {number}, which is not in use")
    if inode.raw[82] * 8 >= found.inode_size - inode.head:
        raise volume.damaged(f"the attributes of the inode {number} begin beyond its end")
    return inode
