"""The content of a file of btrfs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems.btrfs.chunks import Chunks
from vmkeep.guest.filesystems.btrfs.compression import unpack
from vmkeep.guest.filesystems.btrfs.datasums import CheckedData
from vmkeep.guest.filesystems.btrfs.items import ExtentItem
from vmkeep.guest.filesystems.content import Content
from vmkeep.guest.filesystems.volume import Volume

_AT_ONCE: Final = 1 << 20
"""Most bytes that are read and checked together."""
LARGEST_UNIT: Final = 1 << 20
"""Bytes of the largest compressed extent that is unpacked. btrfs makes none above 128 KiB."""


class BtrfsContent(Content):
    """A file's content over its extents. It holds one unpacked extent at a time."""

    def __init__(
        self,
        volume: Volume,
        chunks: Chunks,
        extents: Callable[[int], Iterator[ExtentItem]],
        *,
        checked: CheckedData | None,
        size: int,
        sector: int,
        path: str,
    ) -> None:
        """Take a file's extents.

        :param extents: yields them in order, from the one that holds a byte on.
        :param checked: reads content that has checksums; ``None``: this file has none.
        """
        super().__init__(size)
        self._volume = volume
        self._chunks = chunks
        self._extents = extents
        self._checked = checked
        self._sector = sector
        self._path = path
        self._left: Iterator[ExtentItem] = iter(())
        self._now: ExtentItem | None = None
        self._from = -1
        self._unpacked: tuple[tuple[int, int], bytes] = ((-1, -1), b"")

    def _fill(self, view: memoryview, at: int) -> int:
        now = self._extent_at(at)
        if now is None or now.start > at:
            length = len(view) if now is None else min(len(view), now.start - at)
            view[:length] = bytes(length)
            return length
        length = min(len(view), now.start + now.length - at)
        if now.inline is None and not now.logical:
            view[:length] = bytes(length)
        elif now.inline is None and not now.compression:
            return self._read(now, view[:length], at - now.start)
        else:
            start = at - now.start + now.offset
            part = self._whole(now)[start : start + length]
            if len(part) < length:
                raise self._volume.damaged(f"{self._path}: the extent at byte {now.start} is too short")
            view[:length] = part
        return length

    def _read(self, now: ExtentItem, view: memoryview, offset: int) -> int:
        """Fill the beginning of a view from an extent that is not packed, and return the number of bytes."""
        base = now.logical + now.offset
        if self._checked is None:
            self._volume.disk.read_into(self._chunks.places(base + offset, len(view))[0], view)
            return len(view)
        if base % self._sector or now.length % self._sector:
            raise self._volume.damaged(f"{self._path}: the extent at byte {now.start} is of no whole sectors")
        first = offset // self._sector * self._sector
        stop = min(-(-(offset + len(view)) // self._sector) * self._sector, first + _AT_ONCE)
        data = self._load(base + first, stop - first)[offset - first :][: len(view)]
        view[: len(data)] = data
        return len(data)

    def _load(self, logical: int, length: int) -> bytes:
        if self._checked is None:
            return self._volume.read(self._chunks.places(logical, length)[0], length)
        if length % self._sector:
            raise self._volume.damaged(f"{self._path}: an extent has {length} bytes, which are no whole sectors")
        try:
            return self._checked.read(logical, length)
        except CorruptError as error:
            raise CorruptError(f"{self._path}: {error}") from error

    def _extent_at(self, at: int) -> ExtentItem | None:
        if self._from < 0 or at < self._from:
            self._left = self._extents(at)
            self._now = next(self._left, None)
        while self._now is not None and self._now.start + self._now.length <= at:
            self._now = next(self._left, None)
        self._from = at
        return self._now

    def _whole(self, now: ExtentItem) -> bytes:
        """Return the unpacked bytes of an extent."""
        key = (now.logical, now.start if now.inline is not None else -1)
        if self._unpacked[0] != key:
            self._unpacked = (key, self._unpack(now))
        return self._unpacked[1]

    def _unpack(self, now: ExtentItem) -> bytes:
        if now.encryption or max(now.stored, now.unpacked) > LARGEST_UNIT:
            raise self._volume.damaged(f"{self._path}: the extent at byte {now.start} has an impossible size or kind")
        data = now.inline if now.inline is not None else self._load(now.logical, now.stored)
        if not now.compression:
            return data
        try:
            return unpack(now.compression, data, now.unpacked, self._sector)
        except ValueError as error:
            raise self._volume.damaged(f"{self._path}: the extent at byte {now.start}: {error}") from error
