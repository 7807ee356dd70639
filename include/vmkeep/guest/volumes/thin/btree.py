"""Reads the B-trees of Linux's device mapper (``drivers/md/persistent-data/dm-btree-internal.h``).

A node is a block of 4096 bytes: a header of 32 bytes with a checksum, the node's own number and the number of its
entries; then the keys, and after room for as many as there may be the values. A value of an inner node is the number of
a node; its key is the least that may be found there.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.crc32c import crc32c
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

BLOCK: Final = 4096
_HEADER: Final = struct.Struct("<IIQIIII")
_SALT: Final = 121107
_INNER: Final = 1
_LEAF: Final = 2
_DEEPEST: Final = 12
"""Nodes from a root to a leaf; with 84 entries in each of them, four reach a million million."""
_LARGEST_KEY: Final = 1 << 64
_KEPT: Final = 512
"""Nodes that stay in memory, of each pool."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A node."""

    is_leaf: bool
    keys: tuple[int, ...]
    values: bytes
    value_size: int


class Nodes:
    """The metadata of a pool as blocks. Thread-safe."""

    def __init__(self, disk: RandomDisk, *, what: str) -> None:
        """Read from a disk of metadata.

        :param what: the pool's name in errors.
        """
        self.what = what
        self._disk = disk
        self.load = lru_cache(maxsize=_KEPT)(self._load)

    def block(self, number: int) -> bytes:
        """Return a block.

        :raises CorruptError: there is no such block, or it is damaged in the repository.
        """
        if number >= self._disk.capacity // BLOCK:
            raise self.wrong(f"block {number} lies beyond its end")
        raw = bytearray(BLOCK)
        self._disk.read_into(number * BLOCK, memoryview(raw))
        return bytes(raw)

    def wrong(self, why: str) -> CorruptError:
        """Return the error of metadata that contradict themselves."""
        return CorruptError(f"{self.what}: the metadata of the pool cannot be used: {why}")

    def _load(self, number: int) -> _Node:
        raw = self.block(number)
        checksum, flags, own, count, room, value_size, _ = _HEADER.unpack_from(raw)
        if checksum != crc32c(memoryview(raw)[4:]) ^ _SALT:
            raise self.wrong(f"the checksum of block {number} is wrong")
        if own != number or flags not in (_INNER, _LEAF) or not 8 <= value_size <= 64:
            raise self.wrong(f"block {number} is no node of a tree")
        if count > room or _HEADER.size + room * (8 + value_size) > BLOCK:
            raise self.wrong(f"block {number} has more entries than fit")
        keys = struct.unpack_from(f"<{count}Q", raw, _HEADER.size)
        if any(left >= right for left, right in pairwise(keys)):
            raise self.wrong(f"the keys of block {number} are out of order")
        values = raw[_HEADER.size + 8 * room : _HEADER.size + 8 * room + value_size * count]
        return _Node(flags == _LEAF, keys, values, value_size)


def find(nodes: Nodes, root: int, key: int) -> bytes | None:
    """Return the value of a key in the tree below a root; ``None``: it has none.

    :raises CorruptError: the tree contradicts itself.
    """
    return next((value for _, value in walk(nodes, root, key, key + 1)), None)


def walk(nodes: Nodes, root: int, first: int, stop: int) -> Iterator[tuple[int, bytes]]:
    """Yield keys and values of a range, in order.

    It ends whatever the tree looks like, because no node but the root may be empty, and each lies in a range of keys
    of its own.

    :raises CorruptError: the tree contradicts itself.
    """
    return _walk(nodes, root, (first, stop), (0, _LARGEST_KEY), 0)


def _walk(
    nodes: Nodes, number: int, wanted: tuple[int, int], allowed: tuple[int, int], depth: int
) -> Iterator[tuple[int, bytes]]:
    node = nodes.load(number)
    keys = node.keys
    if depth >= _DEEPEST:
        raise nodes.wrong(f"block {number} is more than {_DEEPEST} nodes below its root")
    if not keys and depth:
        raise nodes.wrong(f"block {number} is an empty node")
    if keys and not (allowed[0] <= keys[0] and keys[-1] < allowed[1]):
        raise nodes.wrong(f"block {number} has keys that belong elsewhere")
    for at in range(max(0, bisect_right(keys, wanted[0]) - 1), len(keys)):
        key = keys[at]
        if key >= wanted[1]:
            return
        following = keys[at + 1] if at + 1 < len(keys) else allowed[1]
        value = node.values[at * node.value_size : (at + 1) * node.value_size]
        if not node.is_leaf:
            if following > wanted[0]:
                child = int.from_bytes(value[:8], "little")
                yield from _walk(nodes, child, wanted, (key, following), depth + 1)
        elif key >= wanted[0]:
            yield key, value
