"""The index of a folder's names: its root lies in the record, the rest in blocks that a bitmap marks as used."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.ntfs.records import (
    BITMAP,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    Record,
    Table,
    repair_strides,
)
from vmkeep.guest.filesystems.values import utf16_name
from vmkeep.guest.filesystems.volume import Volume

_NAMES: Final = "$I30"
_LAST: Final = 0x2
_DOS: Final = 2
"""Namespace of a name of eight and three letters, beside which there is a long one."""
_HEADER_OF_NAME: Final = 66
_LARGE: Final = 0x1


def names_in(volume: Volume, table: Table, folder: Record) -> Iterator[tuple[str, int]]:
    """Yield the names in a folder with the references to their records.

    :raises CorruptError: the index contradicts itself.
    """
    what = f"the index of the folder with the record {folder.number}"
    roots = folder.of(INDEX_ROOT, _NAMES)
    if not roots or not roots[0].is_resident or len(roots[0].value) < 32:
        raise volume.damaged(f"{what} has no root")
    root = roots[0].value
    (size,) = struct.unpack_from("<I", root, 8)
    yield from _entries(volume, what, root[16:])
    if not root[28] & _LARGE:
        return
    if size & (size - 1) or not 512 <= size <= 1 << 16:
        raise volume.damaged(f"{what} has blocks of {size} bytes")
    blocks = table.stream(folder, INDEX_ALLOCATION, _NAMES)
    bitmap = table.stream(folder, BITMAP, _NAMES)
    for number in range(blocks.size // size):
        if not number % (1 << 15):
            used = bitmap.read(number // 8, min(1 << 12, bitmap.size - number // 8))
        at = number % (1 << 15)
        if at // 8 >= len(used):
            return
        if used[at // 8] >> at % 8 & 1:
            block = blocks.read(number * size, size)
            if block[:4] != b"INDX":
                raise volume.damaged(f"{what} has a block without a signature")
            yield from _entries(volume, what, repair_strides(volume, block, what)[24:])


def _entries(volume: Volume, what: str, node: bytes) -> Iterator[tuple[str, int]]:
    at, end = struct.unpack_from("<II", node)
    if end > len(node):
        raise volume.damaged(f"{what} has a node that reaches beyond its block")
    while at + 16 <= end:
        reference, length, key, flags = struct.unpack_from("<QHHH", node, at)
        if flags & _LAST:
            return
        if length < 16 or at + length > end or key < _HEADER_OF_NAME or 16 + key > length:
            break
        letters, namespace = node[at + 16 + 64 : at + 16 + 66]
        if _HEADER_OF_NAME + letters * 2 > key:
            break
        if namespace != _DOS:
            start = at + 16 + _HEADER_OF_NAME
            yield utf16_name(node[start : start + letters * 2]), reference
        at += length
    raise volume.damaged(f"{what} has a wrong entry")
