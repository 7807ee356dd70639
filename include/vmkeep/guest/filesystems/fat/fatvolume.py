"""FAT12, FAT16 and FAT32: the boot sector, and the entries of folders with their long names."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.fat.chains import Clusters
from vmkeep.guest.filesystems.fat.nodes import FatNode
from vmkeep.guest.filesystems.values import dos_moment, utf16_name
from vmkeep.guest.filesystems.volume import Volume

_ENTRY: Final = 32
_LARGEST_FOLDER: Final = 2 << 20
"""65,536 entries. The specification allows no more, and chains that claim more are cut by an error."""
_MASK: Final = 0x0FFFFFFF
_DELETED: Final = 0xE5
_LONG: Final = 0x0F
_LABEL: Final = 0x08
_FOLDER: Final = 0x10
_LAST_PART: Final = 0x40
_MOST_PARTS: Final = 20
_PARTS: Final = ((1, 11), (14, 26), (28, 32))
"""Where an entry holds its thirteen letters of a long name."""
_LOWER_BASE: Final = 0x08
_LOWER_SUFFIX: Final = 0x10


class FatVolume:
    """A FAT12, FAT16 or FAT32."""

    kind = "vfat"

    def __init__(self, volume: Volume) -> None:
        """Read the boot sector.

        :raises CorruptError: there is none, or it contradicts itself.
        """
        self._volume = volume
        boot = volume.read(0, 512) if volume.capacity >= 512 else bytes(512)
        sector, per_cluster, reserved, tables, entries, small = struct.unpack_from("<HBHBHH", boot, 11)
        (table_size,) = struct.unpack_from("<H", boot, 22)
        large, large_table = struct.unpack_from("<II", boot, 32)
        table_size = table_size or large_table
        total = small or large
        if (
            boot[510:512] != b"\x55\xaa"
            or sector not in (512, 1024, 2048, 4096)
            or not per_cluster
            or per_cluster & (per_cluster - 1)
            or not (reserved and tables and table_size and total)
        ):
            raise volume.damaged("it has no boot sector of a FAT")
        root = reserved + tables * table_size
        data = root + -(-entries * _ENTRY // sector)
        if data >= total or total * sector > volume.capacity:
            raise volume.damaged("the boot sector names more sectors than there are; a part of the volume is missing")
        count = (total - data) // per_cluster
        bits = 12 if count < 4085 else 16 if count < 65525 else 32
        if (count + 2) * bits > table_size * sector * 8:
            raise volume.damaged(f"the table has no room for its {count} clusters")
        self.clusters = Clusters(
            volume=volume,
            bits=bits,
            table=reserved * sector,
            heap=data * sector,
            size=per_cluster * sector,
            count=count,
        )
        first = struct.unpack_from("<I", boot, 44)[0] & _MASK if bits == 32 else 0
        self.root = FatNode(key=(True, first), cluster=first, size=0)
        self._fixed_root = (root * sector, entries * _ENTRY)
        self.is_dirty = self._is_dirty()

    def _is_dirty(self) -> bool:
        """Return whether the table's second entry lacks the bit that says that all was written."""
        clean = {12: 0, 16: 1 << 15, 32: 1 << 27}[self.clusters.bits]
        return self.clusters.entry(1) & clean != clean

    def runs(self, node: FatNode, what: str) -> Iterator[Run]:
        """Yield the runs of a file."""
        if not node.size:
            return iter(())
        return self.clusters.runs(self._chain(node.cluster, what), node.size, what=what)

    def _chain(self, first: int, what: str) -> Iterator[int]:
        return self.clusters.chain(first, mask=_MASK, what=what)

    def _entries(self, folder: FatNode) -> Iterator[tuple[int, bytes]]:
        """Yield the entries of a folder, up to its end, with their places."""
        for place, length in self._rooms(folder):
            room = self._volume.read(place, length)
            for at in range(0, length, _ENTRY):
                if not room[at]:
                    return
                yield place + at, room[at : at + _ENTRY]

    def _rooms(self, folder: FatNode) -> Iterator[tuple[int, int]]:
        if not folder.cluster:
            yield self._fixed_root
            return
        size = self.clusters.size
        what = f"the folder in the cluster {folder.cluster}"
        for number, cluster in enumerate(self._chain(folder.cluster, what)):
            if (number + 1) * size > max(size, _LARGEST_FOLDER):
                raise self._volume.damaged(f"{what} has more entries than a FAT allows")
            yield self.clusters.place(cluster), size

    def children(self, folder: FatNode) -> Iterator[tuple[str, FatNode]]:
        """Yield the names in a folder with their nodes."""
        parts: list[bytes] = []
        for place, entry in self._entries(folder):
            kind = entry[11]
            if entry[0] == _DELETED:
                parts = []
            elif kind & 0x3F == _LONG:
                parts = [entry, *parts] if parts and not entry[0] & _LAST_PART else [entry]
                if len(parts) > _MOST_PARTS:
                    parts = []
            else:
                name = _long_name(parts, entry) or _short_name(entry)
                parts = []
                if not kind & _LABEL and entry[:2] not in (b". ", b".."):
                    yield name, self._node(place, entry)

    def _node(self, place: int, entry: bytes) -> FatNode:
        is_folder = bool(entry[11] & _FOLDER)
        tenths, made_time, made_date = struct.unpack_from("<BHH", entry, 13)
        high, time, date, low, size = struct.unpack_from("<HHHHI", entry, 20)
        cluster = low | (high << 16 if self.clusters.bits == 32 else 0)
        if is_folder and not self.clusters.has(cluster):
            raise self._volume.damaged(f"the entry at byte {place} is a folder in the cluster {cluster}")
        return FatNode(
            key=(is_folder, cluster if is_folder else place),
            cluster=cluster,
            size=0 if is_folder else size,
            valid=size,
            modified=dos_moment(date, time),
            created=dos_moment(made_date, made_time, tenths),
        )


def _long_name(parts: list[bytes], entry: bytes) -> str:
    """Return the name that the parts before an entry hold; empty: they are no whole name of this entry."""
    checksum = 0
    for byte in entry[:11]:
        checksum = ((checksum >> 1) | (checksum & 1) << 7) + byte & 0xFF
    orders = [part[0] & 0x1F for part in parts]
    if orders != list(range(1, len(parts) + 1)) or any(part[13] != checksum for part in parts):
        return ""
    letters = b"".join(part[start:stop] for part in parts for start, stop in _PARTS)
    name = utf16_name(letters)
    return name.partition("\0")[0]


def _short_name(entry: bytes) -> str:
    """Return the name of eight and three letters. Its code page is not known; DOS began with 437."""
    raw = bytes([_DELETED]) + entry[1:11] if entry[0] == 0x05 else entry[:11]
    base, suffix = (part.rstrip(b" ").decode("cp437") for part in (raw[:8], raw[8:]))
    if entry[12] & _LOWER_BASE:
        base = base.lower()
    if entry[12] & _LOWER_SUFFIX:
        suffix = suffix.lower()
    return f"{base}.{suffix}" if suffix else base
