"""The content of a file of btrfs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.guest.filesystems.btrfs.chunks import Chunks
from vmkeep.guest.filesystems.btrfs.compression import unpack
from vmkeep.guest.filesystems.btrfs.items import ExtentItem
from vmkeep.guest.filesystems.content import Content
from vmkeep.guest.filesystems.volume import Volume

_LARGEST: Final = 1 << 20
"""Bytes of the largest compressed extent that is unpacked. btrfs makes none above 128 KiB."""


class BtrfsContent(Content):
    """A file's content over its extents. It holds one unpacked extent at a time."""

    def __init__(
        self,
        volume: Volume,
        chunks: Chunks,
        extents: Callable[[int], Iterator[ExtentItem]],
        *,
        size: int,
        sector: int,
        path: str,
    ) -> None:
        """Take a file's extents.

        :param extents: yields them in order, from the one that holds a byte on.
        """
        super().__init__(size)
        self._volume = volume
        self._chunks = chunks
        self._extents = extents
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
            place = self._chunks.places(now.logical + now.offset + at - now.start, length)[0]
            self._volume.disk.read_into(place, view[:length])
        else:
            start = at - now.start + now.offset
            part = self._whole(now)[start : start + length]
            if len(part) < length:
                raise self._volume.damaged(f"{self._path}: the extent at byte {now.start} is too short")
            view[:length] = part
        return length

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
        if now.encryption or max(now.stored, now.unpacked) > _LARGEST:
            raise self._volume.damaged(f"{self._path}: the extent at byte {now.start} has an impossible size or kind")
        if now.inline is not None:
            data = now.inline
        else:
            data = self._volume.read(self._chunks.places(now.logical, now.stored)[0], now.stored)
        if not now.compression:
            return data
        try:
            return unpack(now.compression, data, now.unpacked, self._sector)
        except ValueError as error:
            raise self._volume.damaged(f"{self._path}: the extent at byte {now.start}: {error}") from error
