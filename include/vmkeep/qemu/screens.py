"""A machine's screen: read from QEMU's dump, compared with another one, and written as PNG.

QEMU writes a dump as PPM in every version, and as PNG only in newer ones. Sources of the formats: netpbm's "ppm", and
"Portable Network Graphics (PNG) Specification".
"""

from __future__ import annotations

import re
import struct
import zlib
from enum import StrEnum
from typing import Final

from vmkeep.errors import TransferError
from vmkeep.lateclass import dataclass

_HEADER: Final = re.compile(rb"P6\s(\d{1,5})\s(\d{1,5})\s255\s")
_MOST_PIXELS: Final = 1 << 26
_TEXT_SIZE: Final = (720, 400)
"""Pixels of a VGA screen of 80 × 25 characters."""
_COLUMNS: Final = 80
_MOSTLY: Final = 0.6
"""Part of the pixels from which a screen is mostly of one colour."""
_DARK: Final = 48
"""Brightest value of a channel of a pixel that looks black."""
_CONSOLE_DARK: Final = 0.85


class Look(StrEnum):
    """The look of a screen, as far as its colours tell."""

    BLANK = "blank"
    TEXT = "text"
    """VGA's text mode. Its text can be read."""
    CONSOLE = "console"
    """Almost all black in a graphics mode, as a console that draws its text. A panic looks so, too."""
    BLUE = "blue"
    """Mostly one blue, as the screen on which Windows says that it stopped."""
    PICTURE = "picture"
    """Anything else: what a system shows that is up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """An image of a machine's screen."""

    width: int
    height: int
    pixels: bytes
    """Red, green and blue of each pixel, row by row."""

    @property
    def blank(self) -> bool:
        """Whether all pixels have one colour."""
        return self.pixels == self.pixels[:3] * (self.width * self.height)

    @property
    def of_text(self) -> bool:
        """Whether the screen may be in VGA's text mode."""
        return (self.width, self.height) == _TEXT_SIZE

    @property
    def look(self) -> Look:
        """The look of the screen."""
        if self.blank:
            return Look.BLANK
        if self.of_text:
            return Look.TEXT
        import numpy as np  # takes time to import

        pixels = np.frombuffer(self.pixels, np.uint8).reshape(-1, 3)
        if (pixels <= _DARK).all(axis=1).mean() >= _CONSOLE_DARK:
            return Look.CONSOLE
        red, green, blue = (pixels[:, channel].astype(np.int16) for channel in range(3))
        is_blue = (blue >= 100) & (blue - red >= 70) & (blue - green >= 35)
        return Look.BLUE if is_blue.mean() >= _MOSTLY else Look.PICTURE

    def halved(self) -> Screen:
        """Return the image with every second pixel of every second row."""
        import numpy as np  # takes time to import

        pixels = np.frombuffer(self.pixels, np.uint8).reshape(self.height, self.width, 3)[::2, ::2]
        return Screen(width=pixels.shape[1], height=pixels.shape[0], pixels=pixels.tobytes())

    def differing(self, other: Screen) -> float:
        """Return the part of the pixels that differ, from 0 to 1."""
        if (self.width, self.height) != (other.width, other.height):
            return 1.0
        import numpy as np  # takes time to import

        ours, theirs = (np.frombuffer(screen.pixels, np.uint8).reshape(-1, 3) for screen in (self, other))
        return float((ours != theirs).any(axis=1).mean()) if len(ours) else 0.0

    def png(self) -> bytes:
        """Return the image as a PNG file."""
        row = self.width * 3
        # Each row begins with the number of its filter: none.
        raw = b"".join(b"\0" + self.pixels[start : start + row] for start in range(0, row * self.height, row))
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        parts = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 6)), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def parse_screen(dump: bytes) -> Screen:
    """Return the image in a PPM file.

    :raises TransferError: it is none.
    """
    found = _HEADER.match(dump)
    if found is None:
        raise TransferError("QEMU's dump of the screen is no PPM image")
    width, height = int(found[1]), int(found[2])
    pixels = dump[found.end() :]
    if not 0 < width * height <= _MOST_PIXELS or len(pixels) != width * height * 3:
        raise TransferError(f"QEMU's dump of the screen has {len(pixels)} bytes for {width} × {height} pixels")
    return Screen(width=width, height=height, pixels=pixels)


def parse_text_memory(memory: bytes) -> str:
    """Return the text in VGA's text memory, whose every second byte is a character."""
    characters = memory[::2].decode("cp437")
    rows = (characters[at : at + _COLUMNS] for at in range(0, len(characters), _COLUMNS))
    lines = ("".join(each if each.isprintable() else " " for each in row).rstrip() for row in rows)
    return "\n".join(line for line in lines if line)
