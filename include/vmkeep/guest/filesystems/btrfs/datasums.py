"""The checksums of the content of files: one for each sector, in a tree of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.btrfs.checksums import CHECKSUMS, CRC32C
from vmkeep.guest.filesystems.btrfs.chunks import Chunks
from vmkeep.guest.filesystems.btrfs.nodes import Root, Trees
from vmkeep.guest.filesystems.btrfs.superblock import Superblock
from vmkeep.guest.filesystems.volume import Volume

_OWNER: Final = (1 << 64) - 10
_SUMS: Final = 128


class CheckedData:
    """Reads the content of files, and checks it. Where a chunk has two copies, the one that is right is taken."""

    def __init__(self, volume: Volume, found: Superblock, chunks: Chunks, trees: Trees, root: Root) -> None:
        """Take the tree of checksums."""
        self._volume = volume
        self._sector = found.sector
        self._kind = found.checksum
        self._size = len(CHECKSUMS[found.checksum](b""))
        self._chunks = chunks
        self._trees = trees
        self._root = root

    def read(self, logical: int, length: int) -> bytes:
        """Return some whole sectors.

        :raises CorruptError: no copy of them has the checksums that were stored.
        """
        expected = self._stored(logical, length)
        for place in self._chunks.places(logical, length):
            data = bytearray(length)
            self._volume.disk.read_into(place, memoryview(data))
            if self._sums(bytes(data)) == expected:
                return bytes(data)
        raise self._volume.damaged(f"the logical bytes {logical} to {logical + length} have a wrong checksum")

    def _stored(self, logical: int, length: int) -> bytes:
        """Return the stored checksums of some sectors, one behind the other."""
        found = bytearray()
        for start, sums in self._items(logical, logical + length):
            at = logical + len(found) // self._size * self._sector
            if start > at:
                break
            first = (at - start) // self._sector * self._size
            found += sums[first : first + length // self._sector * self._size - len(found)]
        if len(found) != length // self._sector * self._size:
            raise self._volume.damaged(f"the logical bytes {logical} to {logical + length} have no checksum")
        return bytes(found)

    def _items(self, logical: int, stop: int) -> Iterator[tuple[int, bytes]]:
        key = self._trees.floor(self._root, (_OWNER, _SUMS, logical))
        first = key if key is not None and key[:2] == (_OWNER, _SUMS) else (_OWNER, _SUMS, logical)
        return ((key[2], data) for key, data in self._trees.items(self._root, first, (_OWNER, _SUMS, stop - 1)))

    def _sums(self, data: bytes) -> bytes:
        if self._kind == CRC32C:
            from vmkeep.guest.longcrc import crc32c_of_each  # it loads NumPy

            return crc32c_of_each(data, self._sector).astype("<u4").tobytes()
        parts = (data[at : at + self._sector] for at in range(0, len(data), self._sector))
        return b"".join(map(CHECKSUMS[self._kind], parts))
