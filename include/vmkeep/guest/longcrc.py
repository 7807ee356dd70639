"""CRC-32C of long data, fast enough for a journal of gigabytes; :func:`vmkeep.guest.crc32c.crc32c` chooses it.

A CRC is linear: the bytes of a block contribute to it independently of each other. So there is one table for each
place in a block, and a block's CRC is the exclusive or of one value from each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

_POLYNOMIAL: Final = 0x82F63B78
_REGISTER: Final = range(4)
_LARGEST: Final = 4096
"""Bytes for which there are tables. Longer data is done in parts, because tables of 64 KiB need 64 MiB."""
_FEW: Final = 64
"""Parts from which on all at once are faster: that costs the same 8 ms for one part as for a hundred."""


@lru_cache(maxsize=1)
def _tables() -> npt.NDArray[np.uint32]:
    """Return a table for each distance from the end; the last byte's is the usual one of a CRC."""
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, (first >> 1) ^ np.uint32(_POLYNOMIAL), first >> 1)
    tables = np.empty((_LARGEST, 256), dtype=np.uint32)
    tables[0] = first
    for at in range(1, _LARGEST):
        below = tables[at - 1]
        tables[at] = (below >> np.uint32(8)) ^ first[below & np.uint32(0xFF)]
    return tables


def long_crc32c(data: bytes | bytearray | memoryview, value: int) -> int:
    """Return the register after some bytes, from the register before."""
    for start in range(0, len(data), _LARGEST):
        value = _part(np.frombuffer(data, dtype=np.uint8)[start : start + _LARGEST], value)
    return value


def _part(part: npt.NDArray[np.uint8], value: int) -> int:
    count = len(part)
    tables = _tables()
    if count < len(_REGISTER):  # the register would reach beyond these bytes
        for byte in part.tolist():
            value = (value >> 8) ^ int(tables[0][(value ^ byte) & 0xFF])
        return value
    mixed = part.copy()
    mixed[: len(_REGISTER)] ^= np.frombuffer(value.to_bytes(4, "little"), dtype=np.uint8)
    return int(np.bitwise_xor.reduce(tables[np.arange(count - 1, -1, -1), mixed]))


@lru_cache(maxsize=1)
def _halves() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return the tables of the two halves of a word of four bytes."""
    tables, numbers = _tables(), np.arange(1 << 16, dtype=np.uint32)
    low, high = numbers & np.uint32(0xFF), numbers >> np.uint32(8)
    return tables[3][low] ^ tables[2][high], tables[1][low] ^ tables[0][high]


def crc32c_of_each(data: bytes, size: int) -> npt.NDArray[np.uint32]:
    """Return the CRC-32C of each part of some data; of many parts all at once, word by word.

    :param size: bytes of a part, a multiple of four; the data are whole parts.
    """
    if len(data) < _FEW * size:
        each = [long_crc32c(data[at : at + size], 0xFFFFFFFF) for at in range(0, len(data), size)]
        return np.array(each, dtype=np.uint32) ^ np.uint32(0xFFFFFFFF)
    low, high = _halves()
    words = np.frombuffer(data, dtype="<u4").reshape(-1, size // 4)
    value = np.full(len(words), 0xFFFFFFFF, dtype=np.uint32)
    for column in np.ascontiguousarray(words.T):
        value ^= column
        value = low[value & np.uint32(0xFFFF)] ^ high[value >> np.uint32(16)]
    return value ^ np.uint32(0xFFFFFFFF)
