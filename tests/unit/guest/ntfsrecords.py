"""Records of an NTFS on a disk in memory, to be taken apart and written anew."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tests.nbd_parts import MemoryDisk

_STRIDE = 512
_COPIED = 4
"""Records of which NTFS keeps a copy."""


class NtfsRecords:
    """The records in the first run of the master file table."""

    def __init__(self, disk: MemoryDisk) -> None:
        self._disk = disk
        sector, per_cluster = struct.unpack_from("<HB", disk.content, 11)
        self.cluster = sector * per_cluster
        self._table, self._copy = (each * self.cluster for each in struct.unpack_from("<QQ", disk.content, 48))
        self.size = 1024

    def attributes(self, number: int) -> list[bytes]:
        data = bytearray(self._raw(number))
        offset, count = struct.unpack_from("<HH", data, 4)
        for at in range(1, count):
            data[at * _STRIDE - 2 : at * _STRIDE] = data[offset + at * 2 : offset + at * 2 + 2]
        (at,) = struct.unpack_from("<H", data, 20)
        found = []
        while struct.unpack_from("<I", data, at)[0] != 0xFFFFFFFF:
            (length,) = struct.unpack_from("<I", data, at + 4)
            found.append(bytes(data[at : at + length]))
            at += length
        return found

    def write(self, number: int, attributes: Sequence[bytes], *, base: int = 0) -> None:
        """Give a record other attributes, and make it one that is in use."""
        data = bytearray(self._raw(number))
        offset, count = struct.unpack_from("<HH", data, 4)
        (first,) = struct.unpack_from("<H", data, 20)
        flags = struct.unpack_from("<H", data, 22)[0] | 1
        body = b"".join(attributes) + b"\xff\xff\xff\xff\0\0\0\0"
        assert first + len(body) <= self.size
        data[first:] = body.ljust(self.size - first, b"\0")
        struct.pack_into("<HI", data, 22, flags, first + len(body))
        struct.pack_into("<Q", data, 32, base)
        for at in range(1, count):
            data[offset + at * 2 : offset + at * 2 + 2] = data[at * _STRIDE - 2 : at * _STRIDE]
            data[at * _STRIDE - 2 : at * _STRIDE] = data[offset : offset + 2]
        for table in (self._table, self._copy) if number < _COPIED else (self._table,):
            start = table + number * self.size
            self._disk.content[start : start + self.size] = data

    def sequence(self, number: int) -> int:
        return int(struct.unpack_from("<H", self._raw(number), 16)[0])

    def _raw(self, number: int) -> bytes:
        start = self._table + number * self.size
        return bytes(self._disk.content[start : start + self.size])


def resident(kind: int, value: bytes, name: str = "", number: int = 99) -> bytes:
    """An attribute whose value lies in its record."""
    encoded = name.encode("utf-16-le")
    at = -(-(24 + len(encoded)) // 8) * 8
    length = -(-(at + len(value)) // 8) * 8
    head = struct.pack("<IIBBHHHIHBB", kind, length, 0, len(name), 24, 0, number, len(value), at, 0, 0)
    return (head + encoded).ljust(at, b"\0") + value + bytes(length - at - len(value))


def run_list(runs: Sequence[tuple[int, int]]) -> bytes:
    """Runs of clusters: how many, and where the first one lies."""
    out, before = b"", 0
    for count, place in runs:
        out += b"\x44" + struct.pack("<Ii", count, place - before)
        before = place
    return out + b"\0"


def in_clusters(like: bytes, first: int, runs: Sequence[tuple[int, int]], number: int) -> bytes:
    """A part of an attribute like another one, with other clusters."""
    head = bytearray(like[:64])
    told = run_list(runs)
    length = -(-(64 + len(told)) // 8) * 8
    struct.pack_into("<I", head, 4, length)
    struct.pack_into("<H", head, 14, number)
    struct.pack_into("<QQH", head, 16, first, first + sum(count for count, _ in runs) - 1, 64)
    return (bytes(head) + told).ljust(length, b"\0")


def runs_of(attribute: bytes) -> list[tuple[int, int]]:
    (at,) = struct.unpack_from("<H", attribute, 32)
    found, place = [], 0
    while attribute[at]:
        counts, places = attribute[at] & 15, attribute[at] >> 4
        count = int.from_bytes(attribute[at + 1 : at + 1 + counts], "little")
        place += int.from_bytes(attribute[at + 1 + counts : at + 1 + counts + places], "little", signed=True)
        found.append((count, place))
        at += 1 + counts + places
    return found
