"""The entries of an XFS folder: within its inode, or in blocks. The index behind the blocks is not needed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.superblock import Superblock

_SINGLE: Final = frozenset((b"XD2B", b"XDB3"))
"""Magic numbers of a folder's only block, which holds its index at the end."""
_ONE_OF_MANY: Final = frozenset((b"XD2D", b"XDD3"))
_UNUSED: Final = 0xFFFF
END_OF_DATA: Final = 1 << 35
"""Byte of a folder behind which its index begins."""
_DOTS: Final = frozenset((b".", b".."))


def parse_local(volume: Volume, found: Superblock, folder: int, room: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the names in a folder that lies within its inode, with their inode numbers.

    :raises CorruptError: an entry reaches beyond the inode.
    """
    wrong = volume.damaged(f"the folder with the inode {folder} has a wrong entry within its inode")
    if len(room) < 6:
        raise wrong
    wide = room[1] > 0
    count = room[1] or room[0]
    form, size = (">Q", 8) if wide else (">I", 4)
    at = 2 + size
    for _ in range(count):
        if at + 3 > len(room):
            raise wrong
        length = room[at]
        stop = at + 3 + length + found.has_file_types
        if not length or stop + size > len(room):
            raise wrong
        yield room[at + 3 : at + 3 + length], struct.unpack_from(form, room, stop)[0]
        at = stop + size


def parse_block(volume: Volume, found: Superblock, folder: int, block: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield the names in a block of a folder with their inode numbers.

    :raises CorruptError: an entry reaches beyond the block.
    """
    magic = block[:4]
    at = 64 if found.has_checksums else 16
    end = len(block)
    if magic in _SINGLE:
        (count,) = struct.unpack_from(">I", block, end - 8)
        end -= 8 + count * 8
    elif magic not in _ONE_OF_MANY:
        raise volume.damaged(f"the folder with the inode {folder} has a block with the magic number {magic!r}")
    if end < at:
        raise volume.damaged(f"the index of the folder with the inode {folder} is larger than its block")
    tail = 2 + found.has_file_types
    while at < end:
        free, length = struct.unpack_from(">HH", block, at)
        if free == _UNUSED:
            if length < 8 or length % 8 or at + length > end:
                raise _wrong(volume, folder, at)
            at += length
            continue
        if at + 9 > end:
            raise _wrong(volume, folder, at)
        inode, size = struct.unpack_from(">QB", block, at)
        stop = at + -(-(9 + size + tail) // 8) * 8
        if not size or stop > end:
            raise _wrong(volume, folder, at)
        name = block[at + 9 : at + 9 + size]
        if name not in _DOTS:
            yield name, inode
        at = stop


def _wrong(volume: Volume, folder: int, at: int) -> Exception:
    return volume.damaged(f"the folder with the inode {folder} has a wrong entry at byte {at} of a block")
