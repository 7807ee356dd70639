"""The entries of an ext folder's blocks. The blocks of a hash tree look like blocks with one unused entry."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.volume import Volume

_HEADER: Final = struct.Struct("<IHBB")
_ALIGNED: Final = 4


def parse_block(volume: Volume, folder: int, block: bytes, *, wide_names: bool) -> Iterator[tuple[bytes, int]]:
    """Yield the names in one block of a folder with their inode numbers.

    :param folder: the folder's inode number, for messages.
    :param wide_names: a name's length has sixteen bits, as in the first versions of ext2.
    :raises CorruptError: an entry reaches beyond the block.
    """
    at = 0
    end = len(block)
    while at + _HEADER.size <= end:
        inode, length, name_length, high = _HEADER.unpack_from(block, at)
        if length in (0, 0xFFFF) and end == 1 << 16:
            length = end
        if wide_names:
            name_length |= high << 8
        if length < _HEADER.size or length % _ALIGNED or at + length > end or _HEADER.size + name_length > length:
            raise volume.damaged(f"the folder with the inode {folder} has a wrong entry at byte {at} of a block")
        if inode and name_length:
            start = at + _HEADER.size
            yield block[start : start + name_length], inode
        at += length
