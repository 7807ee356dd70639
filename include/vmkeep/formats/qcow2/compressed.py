"""Compressed clusters of a qcow2 image: where they lie, and what they hold. No cluster can make a larger one."""

from __future__ import annotations

import threading
import zlib
from collections import OrderedDict

import zstandard

from vmkeep.errors import UsageError
from vmkeep.formats.imagefile import ImageFile

_KEPT = 8
_SECTOR = 512
_WINDOW = 1 << 27
"""Largest window of zstd that is taken, in bytes; QEMU's are far smaller."""


class CompressedClusters:
    """Reads compressed clusters, and keeps the last few, because a reader's pieces may cut a cluster. Thread-safe."""

    def __init__(self, file: ImageFile, *, cluster_bits: int, compression: str) -> None:
        self._file = file
        self._size = 1 << cluster_bits
        self._shift = 62 - (cluster_bits - 8)
        self._inflate = _zstd if compression == "zstd" else _zlib
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    def cluster(self, entry: int, first: int) -> bytes:
        """Return the bytes of a cluster.

        :param entry: its L2 entry.
        :param first: where it begins on the disk, for the message.
        :raises UsageError: it cannot be decompressed.
        """
        with self._lock:
            if (found := self._kept.get(entry)) is not None:
                self._kept.move_to_end(entry)
                return found
        place = entry & ((1 << self._shift) - 1)
        sectors = (entry & ((1 << 62) - 1)) >> self._shift
        length = (sectors + 1) * _SECTOR - place % _SECTOR
        packed = self._file.read(place, max(1, min(length, self._file.size - place)))  # the file ends with the data
        data = self._inflate(packed, self._size)
        if data is None or len(data) != self._size:
            raise UsageError(
                f"{self._file.name}: is damaged: the compressed cluster at byte {place}, for byte {first} of the disk, "
                "cannot be decompressed"
            )
        with self._lock:
            self._kept[entry] = data
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return data


def _zlib(packed: bytes, size: int) -> bytes | None:
    try:
        return zlib.decompressobj(-15).decompress(packed, size)
    except zlib.error:
        return None


def _zstd(packed: bytes, size: int) -> bytes | None:
    found = bytearray()
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(packed) as reader:
            while len(found) < size and (more := reader.read(size - len(found))):
                found += more
    except zstandard.ZstdError:
        return None
    return bytes(found)
