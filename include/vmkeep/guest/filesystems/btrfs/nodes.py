"""B-trees: looks up and walks through their items, and checks each node."""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.btrfs.checksums import CHECKSUMS, ROOM
from vmkeep.guest.filesystems.btrfs.chunks import Chunks
from vmkeep.guest.filesystems.btrfs.superblock import Superblock
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

Key = tuple[int, int, int]
"""Object, type and offset."""
_HEADER: Final = 101
_ITEM: Final = struct.Struct("<QBQII")
_POINTER: Final = struct.Struct("<QBQQQ")
_DEEPEST: Final = 7
_KEPT: Final = 256
"""Nodes that are kept, each of 16 KiB by default."""


@dataclass(frozen=True, slots=True)
class Root:
    """The top of a tree."""

    logical: int
    level: int


@dataclass(frozen=True, slots=True)
class _Node:
    level: int
    keys: tuple[Key, ...]
    rooms: tuple[tuple[int, int], ...]
    """Start and end of each item's data, or the place of each child."""
    data: bytes


class Trees:
    """Reads the trees of one file system."""

    def __init__(self, volume: Volume, found: Superblock, chunks: Chunks) -> None:
        self._volume = volume
        self._found = found
        self._chunks = chunks
        self._kept: Recent[int, _Node] = Recent(_KEPT)

    def items(self, root: Root, first: Key, last: Key) -> Iterator[tuple[Key, bytes]]:
        """Yield the items with keys from ``first`` to ``last``, in order.

        :raises CorruptError: a node is damaged, or the tree contradicts itself.
        """
        before: Key = (-1, 0, 0)
        for key, data in self._below(root.logical, root.level, first, last):
            if key <= before:
                raise self._volume.damaged(f"a tree has the item {key} behind {before}")
            before = key
            yield key, data

    def item(self, root: Root, key: Key) -> bytes | None:
        """Return an item; ``None``: there is none."""
        return next((data for _, data in self.items(root, key, key)), None)

    def floor(self, root: Root, key: Key) -> Key | None:
        """Return the largest key that is not above another; ``None``: there is none."""
        logical, level = root.logical, root.level
        best: Key | None = None
        while True:
            node = self._node(logical, level)
            at = bisect_right(node.keys, key) - 1
            if at < 0:
                return best
            best = node.keys[at]
            if not level:
                return best
            logical, level = node.rooms[at][0], level - 1

    def _below(self, logical: int, level: int, first: Key, last: Key) -> Iterator[tuple[Key, bytes]]:
        node = self._node(logical, level)
        if not level:
            for at in range(bisect_left(node.keys, first), bisect_right(node.keys, last)):
                start, stop = node.rooms[at]
                yield node.keys[at], node.data[start:stop]
            return
        for at in range(max(0, bisect_right(node.keys, first) - 1), bisect_right(node.keys, last)):
            yield from self._below(node.rooms[at][0], level - 1, first, last)

    def _node(self, logical: int, level: int) -> _Node:
        node = self._kept.get(logical)
        if node is None:
            node = self._kept.put(logical, self._parse(logical, self._load(logical)))
        if node.level != level or level > _DEEPEST:
            raise self._volume.damaged(f"the node at the logical byte {logical} is on level {node.level}, not {level}")
        return node

    def _load(self, logical: int) -> bytes:
        """Return the first copy of a node whose checksum is right."""
        size = self._found.node
        for place in self._chunks.places(logical, size):
            data = self._volume.read(place, size)
            expected = CHECKSUMS[self._found.checksum](data[ROOM:])
            if data[: len(expected)] == expected and struct.unpack_from("<Q", data, 48)[0] == logical:
                return data
        raise self._volume.damaged(f"the node at the logical byte {logical} has a wrong checksum")

    def _parse(self, logical: int, data: bytes) -> _Node:
        count, level = struct.unpack_from("<IB", data, 96)
        form = _POINTER if level else _ITEM
        if count > (len(data) - _HEADER) // form.size:
            raise self._volume.damaged(f"the node at the logical byte {logical} has {count} items")
        fields = [form.unpack_from(data, _HEADER + at * form.size) for at in range(count)]
        keys = tuple((each[0], each[1], each[2]) for each in fields)
        if level:
            return _Node(level, keys, tuple((each[3], 0) for each in fields), b"")
        rooms = tuple((_HEADER + each[3], _HEADER + each[3] + each[4]) for each in fields)
        if any(stop > len(data) for _, stop in rooms):
            raise self._volume.damaged(f"the node at the logical byte {logical} has an item that reaches beyond it")
        return _Node(level, keys, rooms, data)
