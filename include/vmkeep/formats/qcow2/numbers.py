"""Tables of big-endian numbers of 64 bits."""

from __future__ import annotations

import sys
from array import array


def packed(numbers: array[int]) -> bytes:
    """Return the bytes of a table."""
    if sys.byteorder == "big":
        return numbers.tobytes()
    swapped = array("Q", numbers)
    swapped.byteswap()
    return swapped.tobytes()


def unpacked(data: bytes) -> array[int]:
    """Return the numbers of a table."""
    numbers = array("Q", data)
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
