"""Compressed files of NTFS: units of sixteen clusters, each compressed by LZNT1 (described in MS-XCA) if it helps."""

from __future__ import annotations

from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems.content import Content
from vmkeep.guest.filesystems.ntfs.streams import Stream
from vmkeep.guest.filesystems.volume import Volume

_CHUNK: Final = 4096
_LENGTH: Final = 0x0FFF
_IS_COMPRESSED: Final = 0x8000
_SHORTEST: Final = 3
_LARGEST_UNIT: Final = 2 << 20


class CompressedContent(Content):
    """The content of a compressed file. It holds one unit at a time."""

    def __init__(self, volume: Volume, stream: Stream, cluster: int, path: str) -> None:
        super().__init__(stream.size)
        self._volume = volume
        self._stream = stream
        self._cluster = cluster
        self._path = path
        self._unit = stream.unit * cluster
        self._number = -1
        self._data = b""
        if self._unit > _LARGEST_UNIT:
            raise volume.damaged(f"{path}: it claims to be compressed in units of {self._unit} bytes")

    def _fill(self, view: memoryview, at: int) -> int:
        if at >= self._stream.written:
            view[:] = bytes(len(view))
            return len(view)
        number, offset = divmod(at, self._unit)
        if number != self._number:
            self._data = self._load(number)
            self._number = number
        length = min(len(view), self._unit - offset, self._stream.written - at)
        view[:length] = self._data[offset : offset + length]
        return length

    def _load(self, number: int) -> bytes:
        parts = []
        count = 0
        first = number * self._stream.unit
        for start, length, place in self._stream.clusters(first):
            stop = min(start + length, first + self._stream.unit)
            if stop <= first:
                continue
            if start >= first + self._stream.unit:
                break
            if place is None:
                continue
            skipped = max(0, first - start)
            count += stop - start - skipped
            parts.append(self._volume.read((place + skipped) * self._cluster, (stop - start - skipped) * self._cluster))
        data = b"".join(parts)
        if 0 < count < self._stream.unit:
            try:
                data = unpack(data, self._unit)
            except (ValueError, IndexError):
                raise self._wrong(number) from None
        return data.ljust(self._unit, b"\0")

    def _wrong(self, number: int) -> CorruptError:
        return self._volume.damaged(f"{self._path}: its compressed bytes from {number * self._unit} on are damaged")


def unpack(data: bytes, most: int) -> bytes:
    """Return what LZNT1 compressed.

    :param most: bytes that it may yield.
    :raises ValueError: it contradicts itself, or yields more.
    """
    out = bytearray()
    at = 0
    while at + 2 <= len(data) and len(out) < most:
        header = int.from_bytes(data[at : at + 2], "little")
        if not header:
            break
        length = (header & _LENGTH) + 1
        chunk = data[at + 2 : at + 2 + length]
        if len(chunk) < length:
            raise ValueError("a chunk is cut")
        if header & _IS_COMPRESSED:
            unpacked = _chunk(chunk)
            out += unpacked if len(unpacked) == _CHUNK else unpacked.ljust(_CHUNK, b"\0")
        else:
            out += chunk.ljust(_CHUNK, b"\0")
        at += 2 + length
    if len(out) > most:
        raise ValueError("it yields too much")
    return bytes(out)


def _chunk(chunk: bytes) -> bytearray:
    out = bytearray()
    at = 0
    end = len(chunk)
    while at < end:
        flags = chunk[at]
        at += 1
        for bit in range(8):
            if at >= end:
                break
            if not flags >> bit & 1:
                out.append(chunk[at])
                at += 1
                continue
            token = chunk[at] | chunk[at + 1] << 8
            at += 2
            shift = 16 - max(4, (len(out) - 1).bit_length())
            back = (token >> shift) + 1
            length = (token & (1 << shift) - 1) + _SHORTEST
            if back > len(out) or len(out) + length > _CHUNK:
                raise ValueError("a reference leaves its chunk")
            start = len(out) - back
            if back >= length:
                out += out[start : start + length]
            else:
                out += (out[start:] * (length // back + 1))[:length]
    return out
