"""Extended attributes of ext2, ext3 and ext4: behind an inode's fields, in a block of their own, or in other inodes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.guest.filesystems.ext.inodes import BASE, Inode
from vmkeep.guest.filesystems.ext.superblock import Superblock
from vmkeep.guest.filesystems.values import collected, posix_acl, posix_name
from vmkeep.guest.filesystems.volume import MOST_AT_ONCE, Volume

_MAGIC: Final = 0xEA020000
_HEADER_OF_BLOCK: Final = 32
_ENTRY: Final = struct.Struct("<BBHIII")
_PREFIXES: Final = {
    1: "user.",
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    4: "trusted.",
    6: "security.",
    7: "system.",
    8: "system.richacl",
}
_ACLS: Final = frozenset((2, 3))
INLINE_DATA: Final = "system.data"
"""The attribute that holds what of a file's or folder's content does not fit into the inode's block area."""
_WITH_ID: Final = frozenset((0x02, 0x08))
"""Tags of an access control list whose entries name a user or a group."""


def read_attributes(
    volume: Volume, found: Superblock, inode: Inode, value_of: Callable[[int, int], bytes]
) -> dict[str, bytes]:
    """Return all extended attributes of an inode, :data:`INLINE_DATA` included.

    :param value_of: returns the value that another inode holds, by its number and size.
    :raises CorruptError: an entry reaches beyond its room.
    :raises UnsupportedError: they are too large for the memory.
    """
    return collected(volume, f"the inode {inode.number}", _all(volume, found, inode, value_of))


def _all(
    volume: Volume, found: Superblock, inode: Inode, value_of: Callable[[int, int], bytes]
) -> Iterator[tuple[str, bytes]]:
    start = BASE + inode.extra
    if inode.extra and start + 4 <= len(inode.raw) and struct.unpack_from("<I", inode.raw, start)[0] == _MAGIC:
        yield from _entries(volume, inode, inode.raw[start + 4 :], 0, value_of)
    if inode.attribute_block:
        if inode.attribute_block >= found.blocks:
            raise volume.damaged(f"the inode {inode.number}: its attributes lie in block {inode.attribute_block}")
        block = volume.read(inode.attribute_block * found.block_size, found.block_size)
        if struct.unpack_from("<I", block)[0] != _MAGIC:
            raise volume.damaged(f"the inode {inode.number}: its block of attributes has a wrong header")
        yield from _entries(volume, inode, block, _HEADER_OF_BLOCK, value_of)


def _entries(
    volume: Volume, inode: Inode, room: bytes, at: int, value_of: Callable[[int, int], bytes]
) -> Iterator[tuple[str, bytes]]:
    while at + 4 <= len(room) and room[at : at + 4] != bytes(4):
        if at + _ENTRY.size > len(room):
            raise volume.damaged(f"the inode {inode.number}: an attribute reaches beyond its room")
        length, index, offset, other, size, _ = _ENTRY.unpack_from(room, at)
        name = room[at + _ENTRY.size : at + _ENTRY.size + length]
        at += _ENTRY.size + -(-length // 4) * 4
        if len(name) < length or size > MOST_AT_ONCE or (not other and offset + size > len(room)):
            raise volume.damaged(f"the inode {inode.number}: an attribute reaches beyond its room")
        value = value_of(other, size) if other else room[offset : offset + size]
        full = _PREFIXES.get(index, f"unknown{index}.") + posix_name(name)
        yield full, _acl(volume, inode, value) if index in _ACLS else value


def _acl(volume: Volume, inode: Inode, value: bytes) -> bytes:
    """Turn an access control list into the form that programs get from Linux."""
    entries: list[tuple[int, int, int | None]] = []
    at = 4
    while at + 4 <= len(value):
        tag, permissions = struct.unpack_from("<HH", value, at)
        at += 4
        named = None
        if tag in _WITH_ID:
            if at + 4 > len(value):
                raise volume.damaged(f"the inode {inode.number}: its access control list is cut")
            (named,) = struct.unpack_from("<I", value, at)
            at += 4
        entries.append((tag, permissions, named))
    return posix_acl(entries)
