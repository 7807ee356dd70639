"""Encodes lists of extents: the areas of a disk that were read for a restore point, or that a run is to read.

    4 bytes   magic ``VKX1``
    u8        unit: 9 if all numbers are whole sectors of 512 bytes, else 0
    varint    number of extents
    varint…   for each: the gap after the end of the one before, then its length; both shifted right by the unit

A varint holds 7 bits of a number in each byte, the lowest bits first. All bytes but the last have the high bit set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent, Extents, coalesce

_MAGIC = b"VKX1"
_SECTOR_SHIFT = 9
_LONGEST_VARINT = 10
_LAST = (1 << 64) - 1


def encode_extents(extents: Sequence[Extent]) -> bytes:
    """Encode extents; those that touch or overlap are joined first."""
    packed = coalesce(extents)
    sectors = all(not (start | stop) & 511 for start, stop in packed.pairs())
    shift = _SECTOR_SHIFT if sectors else 0
    out = bytearray(_MAGIC)
    out.append(shift)
    _put_varint(out, len(packed))
    at = 0
    for start, stop in packed.pairs():
        _put_varint(out, (start - at) >> shift)
        _put_varint(out, (stop - start) >> shift)
        at = stop
    return bytes(out)


def decode_extents(data: Bytes) -> Extents:
    """Decode bytes that :func:`encode_extents` made.

    :raises CorruptError: the bytes are cut off, damaged, or not a list of extents.
    """
    content = bytes(data)
    if content[:4] != _MAGIC or len(content) < 6 or content[4] not in (0, _SECTOR_SHIFT):
        raise CorruptError("not a list of extents")
    shift = content[4]
    numbers = _varints(content[5:])
    count = next(numbers, 0)
    if count > len(content) // 2:
        raise CorruptError("list of extents is cut off")
    extents = Extents.of_pairs(_ranges(numbers, shift))
    if len(extents) != count:
        raise CorruptError("list of extents is cut off")
    return extents


def _ranges(numbers: Iterator[int], shift: int) -> Iterator[tuple[int, int]]:
    at = 0
    for gap in numbers:
        length = next(numbers, 0)
        start = at + (gap << shift)
        stop = start + (length << shift)
        if not length or (not gap and at) or stop > _LAST:
            raise CorruptError("list of extents is damaged")
        yield start, stop
        at = stop


def _put_varint(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _varints(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            yield number
            number = shift = 0
        elif shift >= 7 * _LONGEST_VARINT:
            raise CorruptError("list of extents is damaged")
    if shift:
        raise CorruptError("list of extents is cut off")
