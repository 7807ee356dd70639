"""Unpacks the extents of btrfs: zlib, zstd, and LZO with btrfs's own frame round it."""

from __future__ import annotations

import zlib
from typing import Final

import zstandard

_ZLIB: Final = 1
_LZO: Final = 2
_ZSTD: Final = 3
_LENGTH: Final = 4
_LARGEST_WINDOW: Final = 1 << 20


def unpack(kind: int, data: bytes, size: int, sector: int) -> bytes:
    """Return the unpacked bytes of an extent.

    :param size: bytes that it yields.
    :param sector: the file system's smallest block, which frames LZO.
    :raises ValueError: it contradicts itself, or yields less.
    """
    try:
        if kind == _ZLIB:
            out = zlib.decompressobj().decompress(data, size)
        elif kind == _ZSTD:
            out = _unzstd(data, size)
        elif kind == _LZO:
            out = _frames(data, size, sector)
        else:
            raise ValueError(f"unknown compression {kind}")
    except (zlib.error, zstandard.ZstdError, IndexError) as error:
        raise ValueError(str(error)) from error
    if len(out) > size:
        raise ValueError("it yields too much")
    return out.ljust(size, b"\0")


def _unzstd(data: bytes, size: int) -> bytes:
    """Unpack the one frame of an extent. Zeros fill the sector behind it."""
    with zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW).stream_reader(data) as reader:
        return reader.read(size)


def _frames(data: bytes, size: int, sector: int) -> bytes:
    """Unpack the frames of LZO. None has a head that lies in two sectors."""
    out = bytearray()
    end = int.from_bytes(data[:_LENGTH], "little") if len(data) > _LENGTH else len(data)
    at = _LENGTH
    while at < min(end, len(data)) and len(out) < size:
        if sector - at % sector < _LENGTH:
            at += sector - at % sector
        length = int.from_bytes(data[at : at + _LENGTH], "little")
        at += _LENGTH
        frame = data[at : at + length]
        if not length or len(frame) < length:
            raise ValueError("a frame of LZO is cut")
        out += _lzo(frame, sector)
        at += length
    return bytes(out)


class _Lzo:
    """One frame of LZO1X while it is being unpacked. The format is told in the kernel's Documentation/staging/lzo."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.most = most
        self.at = 0
        self.out = bytearray()

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def long_length(self, start: int) -> int:
        """Return a length that goes on in the next bytes."""
        length = start
        while not (more := self.byte()):
            length += 255
        return length + more

    def literals(self, count: int) -> None:
        part = self.data[self.at : self.at + count]
        if len(part) < count or len(self.out) + count > self.most:
            raise ValueError("a run of LZO leaves its frame")
        self.out += part
        self.at += count

    def copy(self, back: int, count: int) -> None:
        if not 0 < back <= len(self.out) or len(self.out) + count > self.most:
            raise ValueError("a reference of LZO leaves its frame")
        start = len(self.out) - back
        part = self.out[start : start + count]
        self.out += part if back >= count else (self.out[start:] * (count // back + 1))[:count]


def _lzo(data: bytes, most: int) -> bytes:
    frame = _Lzo(data, most)
    state = 0
    first = frame.data[0]
    if first > 17:
        frame.at = 1
        frame.literals(first - 17)
        state = min(first - 17, 4)
    while True:
        code = frame.byte()
        if code < 16 and not state:
            frame.literals(code + 3 if code else frame.long_length(18))
            state = 4
            continue
        ended, trailing = _match(frame, code, state)
        if ended:
            return bytes(frame.out)
        frame.literals(trailing)
        state = trailing


def _match(frame: _Lzo, code: int, state: int) -> tuple[bool, int]:
    """Copy what a code refers to. Return whether it was the end, and the number of literals behind it."""
    if code >= 64:
        back = (frame.byte() << 3) + (code >> 2 & 7) + 1
        frame.copy(back, (code >> 5) + 1)
        return False, code & 3
    if code >= 32:
        length = (code & 31) + 2 if code & 31 else frame.long_length(31) + 2
        low = frame.byte()
        frame.copy((low >> 2) + (frame.byte() << 6) + 1, length)
        return False, low & 3
    if code >= 16:
        length = (code & 7) + 2 if code & 7 else frame.long_length(7) + 2
        low = frame.byte()
        back = ((code & 8) << 11) + (low >> 2) + (frame.byte() << 6)
        if not back:
            return True, 0
        frame.copy(back + 0x4000, length)
        return False, low & 3
    back = (code >> 2) + (frame.byte() << 2) + 1
    if state == 4:
        frame.copy(back + 0x800, 3)
    else:
        frame.copy(back, 2)
    return False, code & 3
