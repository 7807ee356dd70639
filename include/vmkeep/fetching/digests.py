"""A digest of a file's data that is the same however its holes lie, to compare a written file with its source."""

from __future__ import annotations

import os
from typing import Final

from blake3 import blake3

from vmkeep.errors import VerificationError
from vmkeep.fetching.content import PIECE

ZEROS: Final = bytes(PIECE)


class ContentDigest:
    """Digests the pieces of a file that are not all zeros, each with its number. Holes need not be read."""

    def __init__(self, size: int) -> None:
        """:param size: bytes of the whole file."""
        self._size = size
        self._digest = blake3()
        self._number = -1
        """The piece that came in parts and is being put together."""
        self._parts = bytearray()

    def add(self, at: int, data: memoryview) -> None:
        """Take bytes that do not cross a multiple of a piece. Offsets rise from call to call."""
        number = at // PIECE
        if number != self._number:
            self._flush()
            if len(data) == self._length(number):
                self._take(number, data)
                return
            self._number = number
            self._parts = self._parts or bytearray(min(PIECE, self._size))
        begin = at - number * PIECE
        self._parts[begin : begin + len(data)] = data

    def value(self) -> bytes:
        """Return the digest. Nothing may be added after."""
        self._flush()
        return self._digest.digest()

    def _length(self, number: int) -> int:
        return min(PIECE, self._size - number * PIECE)

    def _flush(self) -> None:
        if self._number >= 0:
            self._take(self._number, memoryview(self._parts)[: self._length(self._number)])
            self._parts[:] = ZEROS[: len(self._parts)]
            self._number = -1

    def _take(self, number: int, data: memoryview) -> None:
        if data != ZEROS[: len(data)]:
            self._digest.update(number.to_bytes(8, "little"))
            self._digest.update(data)


def digest_of(file: int, size: int) -> bytes:
    """Return the digest of an open file of this machine. Its holes are skipped where the file system tells them."""
    digest, buffer = ContentDigest(size), memoryview(bytearray(min(PIECE, size)))
    number = 0
    while number * PIECE < size:
        data = _next_data(file, number * PIECE)
        if data is None:
            break
        number = data // PIECE
        piece = buffer[: min(PIECE, size - number * PIECE)]
        done = 0
        while done < len(piece):
            count = os.preadv(file, [piece[done:]], number * PIECE + done)
            if not count:
                raise VerificationError(f"it has fewer than {size} bytes")
            done += count
        digest.add(number * PIECE, piece)
        number += 1
    return digest.value()


def _next_data(file: int, offset: int) -> int | None:
    """Return where data begins at or after an offset; ``None``: only a hole is left."""
    try:
        return os.lseek(file, offset, os.SEEK_DATA)
    except OSError:  # ENXIO: only a hole is left, or the offset itself where holes are not known
        return None
