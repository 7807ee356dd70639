"""Chunks: where a range of logical bytes lies on the device."""

from __future__ import annotations

import struct
from bisect import bisect_right, insort
from typing import Final

from vmkeep.guest.filesystems.volume import Volume

_CHUNK: Final = struct.Struct("<QQQQIIIHH")
_STRIPE: Final = struct.Struct("<QQ16s")
_DUPLICATES: Final = 0x20 | 0x10 | 0x200 | 0x400
_STRIPED: Final = 0x8 | 0x40 | 0x80 | 0x100
SIZE: Final = _CHUNK.size


class Chunks:
    """The map of logical to physical bytes."""

    def __init__(self, volume: Volume, device: int) -> None:
        self._volume = volume
        self._device = device
        self._chunks: list[tuple[int, int, tuple[int, ...]]] = []

    def add(self, logical: int, data: bytes) -> int:
        """Take a chunk, and return the number of its bytes in ``data``.

        :raises CorruptError: it contradicts itself.
        :raises UnsupportedError: its data is striped over devices.
        """
        if len(data) < _CHUNK.size:
            raise self._volume.damaged("a chunk is cut")
        length, _, _, kind, _, _, _, stripes, _ = _CHUNK.unpack_from(data)
        end = _CHUNK.size + stripes * _STRIPE.size
        if not stripes or not length or len(data) < end:
            raise self._volume.damaged("a chunk has no place on the device")
        if kind & _STRIPED and stripes > 1:
            raise self._volume.refused("vmkeep cannot read a btrfs that is striped")
        places = [_STRIPE.unpack_from(data, at)[:2] for at in range(_CHUNK.size, end, _STRIPE.size)]
        if any(device != self._device for device, _ in places):
            raise self._volume.refused("vmkeep cannot read a btrfs over several devices")
        found = tuple(place for _, place in places)
        if all(logical != chunk[0] for chunk in self._chunks[-1:]):
            insort(self._chunks, (logical, length, found if kind & _DUPLICATES else found[:1]))
        return int(end)

    def places(self, logical: int, length: int) -> tuple[int, ...]:
        """Return the byte offsets on the device of each copy of a range.

        :raises CorruptError: the range lies in no chunk.
        """
        at = bisect_right(self._chunks, (logical, 1 << 64, ())) - 1
        if at >= 0:
            start, size, places = self._chunks[at]
            if logical + length <= start + size:
                found = tuple(place + logical - start for place in places)
                if all(place + length <= self._volume.capacity for place in found):
                    return found
        raise self._volume.damaged(f"the logical bytes {logical} to {logical + length} lie in no chunk")
