"""The content of a volume as its first bytes tell it, and a reader for those bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk

READY: Final = "ready"
REPLAY: Final = "journal needs replay"
UNCLEAN: Final = "not unmounted cleanly"
_HEAD: Final = 72 << 10
"""Bytes from the volume's start that are read at once, because most signatures lie there."""
_MOST: Final = 1 << 20
"""Most bytes that one look at a volume may ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The content of a volume, by its signature."""

    kind: str
    """In small letters: a file system such as ``ext4``, or another thing such as ``swap``, ``luks2`` or ``lvm-pv``."""
    label: str = ""
    uuid: str = ""
    """As Linux's ``blkid`` writes it. A FAT's and an NTFS's is the serial number."""
    state: str = READY
    refusal: str = ""
    """The reason why no files can be read in it, and the way out; empty: files can be read."""
    size: int = 0
    """Bytes that the file system takes, by its own word; 0: it does not say."""


class Head:
    """Bytes of a volume at given places, a few at a time. The first ones are read only once."""

    def __init__(self, disk: RandomDisk) -> None:
        self.size = disk.capacity
        self.disk = disk
        self._first = self._read(0, _HEAD)

    def at(self, offset: int, length: int) -> bytes:
        """Return bytes from an offset on; fewer, if the volume ends there.

        :raises CorruptError: a stored block is damaged.
        """
        if offset < 0 or not 0 <= length <= _MOST:
            return b""
        if offset + length <= len(self._first):
            return self._first[offset : offset + length]
        return self._read(offset, length)

    def numbers(self, layout: str, offset: int) -> tuple[Any, ...]:
        """Return the numbers of a layout of :mod:`struct` at an offset; zeros beyond the volume's end."""
        length = struct.calcsize(layout)
        return struct.unpack(layout, self.at(offset, length).ljust(length, b"\0"))

    def number(self, layout: str, offset: int) -> int:
        """Return one number at an offset; 0 beyond the volume's end."""
        return int(self.numbers(layout, offset)[0])

    def _read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        content = bytearray(length)
        if length:
            self.disk.read_into(offset, memoryview(content))
        return bytes(content)


Detector = Callable[[Head], Content | None]
"""Looks for one family of signatures; ``None``: there is none of them."""


def text(raw: bytes, encoding: str = "utf-8") -> str:
    r"""Return a label: up to its first zero, without spaces round it. Bytes that are no text become ``\x…``."""
    return raw.decode(encoding, "backslashreplace").split("\0", 1)[0].strip()


def dashed(raw: bytes) -> str:
    """Return a UUID in text; empty if it is not set."""
    return str(UUID(bytes=raw)) if len(raw) == 16 and any(raw) else ""


def is_power_of_two(number: int, least: int, most: int) -> bool:
    """Tell whether a number is a power of two within limits, as sizes of blocks are."""
    return least <= number <= most and number & (number - 1) == 0
