"""CRC-32C, the checksum of Linux's device mapper and of its file systems. The standard library has CRC-32 only."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78
_LONG: Final = 1024
"""Bytes from which on tables of NumPy are faster, by far for a block of 4 KiB."""


def _entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
    return number


_TABLE: Final = tuple(map(_entry, range(256)))


def crc32c(data: bytes | bytearray | memoryview, start: int = 0xFFFFFFFF) -> int:
    """Return the register after some bytes, as the kernel's ``crc32c`` does; callers invert it where a format asks.

    :param start: the register before.
    """
    if len(data) >= _LONG:
        from vmkeep.guest.longcrc import long_crc32c  # it loads NumPy

        return long_crc32c(data, start)
    table, register = _TABLE, start
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register
