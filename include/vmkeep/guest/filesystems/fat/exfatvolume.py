"""exFAT: the boot sector, and the entry sets of folders. Both have checksums."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.fat.chains import Clusters
from vmkeep.guest.filesystems.fat.nodes import FatNode
from vmkeep.guest.filesystems.values import dos_moment, utf16_name
from vmkeep.guest.filesystems.volume import Volume

_SIGNATURE: Final = b"EXFAT   "
_SECTORS_CHECKED: Final = 11
_UNCHECKED: Final = frozenset((106, 107, 112))
"""Bytes of the boot sector that change while the volume is in use."""
_DIRTY: Final = 0x2
_SECOND_TABLE: Final = 0x1
_MASK: Final = 0xFFFFFFFF
_ENTRY: Final = 32
_LARGEST_FOLDER: Final = 256 << 20
_FILE: Final = 0x85
_STREAM: Final = 0xC0
_NAME: Final = 0xC1
_FOLDER: Final = 0x10
_CONTIGUOUS: Final = 0x2
_ZONE_IS_KNOWN: Final = 0x80


class ExfatVolume:
    """An exFAT."""

    kind = "exfat"

    def __init__(self, volume: Volume) -> None:
        """Read the boot sector.

        :raises CorruptError: there is none, or it contradicts itself.
        """
        self._volume = volume
        boot = volume.read(0, 512) if volume.capacity >= 512 else bytes(512)
        sector_bits, cluster_bits = boot[108], boot[109]
        if boot[3:11] != _SIGNATURE or not 9 <= sector_bits <= 12 or cluster_bits > 25 - sector_bits:
            raise volume.damaged("it has no boot sector of exFAT")
        self._check_boot(1 << sector_bits)
        (total,) = struct.unpack_from("<Q", boot, 72)
        table, table_size, heap, count, root = struct.unpack_from("<5I", boot, 80)
        (flags,) = struct.unpack_from("<H", boot, 106)
        if total << sector_bits > volume.capacity or heap + (count << cluster_bits) > total:
            raise volume.damaged("the boot sector names more sectors than there are; a part of the volume is missing")
        if (count + 2) * 4 > table_size << sector_bits:
            raise volume.damaged(f"the table has no room for its {count} clusters")
        if flags & _SECOND_TABLE and boot[110] == 2:
            table += table_size
        self.clusters = Clusters(
            volume=volume,
            bits=32,
            table=table << sector_bits,
            heap=heap << sector_bits,
            size=1 << sector_bits + cluster_bits,
            count=count,
        )
        self.is_dirty = bool(flags & _DIRTY)
        self.root = FatNode(key=(True, root), cluster=root, size=0)

    def _check_boot(self, sector: int) -> None:
        data = self._volume.read(0, sector * (_SECTORS_CHECKED + 1))
        checksum = 0
        for at, byte in enumerate(data[: sector * _SECTORS_CHECKED]):
            if at not in _UNCHECKED:
                checksum = ((checksum >> 1) | (checksum & 1) << 31) + byte & _MASK
        if data[-sector:] != struct.pack("<I", checksum) * (sector // 4):
            raise self._volume.damaged("the checksum of its boot sectors is wrong")

    def runs(self, node: FatNode, what: str) -> Iterator[Run]:
        """Yield the runs of a file."""
        if not node.valid:
            return
        for run in self.clusters.runs(self._chain(node, what), node.valid, what=what):
            yield run._replace(length=min(run.length, node.valid - run.start))

    def _chain(self, node: FatNode, what: str) -> Iterator[int]:
        if not node.contiguous:
            return self.clusters.chain(node.cluster, mask=_MASK, what=what)
        count = -(-node.size // self.clusters.size)
        if not self.clusters.has(node.cluster) or not self.clusters.has(node.cluster + count - 1):
            raise self._volume.damaged(f"{what}: its {count} clusters from {node.cluster} on are not on the volume")
        return iter(range(node.cluster, node.cluster + count))

    def _entries(self, folder: FatNode) -> Iterator[tuple[int, bytes]]:
        """Yield the entries of a folder, up to its end, with their places."""
        size = self.clusters.size
        what = f"the folder in the cluster {folder.cluster}"
        for number, cluster in enumerate(self._chain(folder, what)):
            if number * size >= _LARGEST_FOLDER:
                raise self._volume.damaged(f"{what} has more entries than exFAT allows")
            place = self.clusters.place(cluster)
            for start in range(place, place + size, 1 << 16):
                room = self._volume.read(start, min(1 << 16, place + size - start))
                for at in range(0, len(room), _ENTRY):
                    if not room[at]:
                        return
                    yield start + at, room[at : at + _ENTRY]

    def children(self, folder: FatNode) -> Iterator[tuple[str, FatNode]]:
        """Yield the names in a folder with their nodes."""
        entries = self._entries(folder)
        for place, entry in entries:
            if entry[0] != _FILE:
                continue
            others = [each for _, (_, each) in zip(range(entry[1]), entries, strict=False)]
            yield self._parse(place, entry, others)

    def _parse(self, place: int, entry: bytes, others: list[bytes]) -> tuple[str, FatNode]:
        (stored,) = struct.unpack_from("<H", entry, 2)
        names = [each[2:] for each in others if each[0] == _NAME]
        if len(others) < entry[1] or not others or others[0][0] != _STREAM or _checksum(entry, others) != stored:
            raise self._volume.damaged(f"the entries at byte {place} have a wrong checksum")
        stream = others[0]
        name = b"".join(names)[: stream[3] * 2]
        if len(name) < stream[3] * 2:
            raise self._volume.damaged(f"the name in the entries at byte {place} is cut")
        valid, _, cluster, size = struct.unpack_from("<QIIQ", stream, 8)
        is_folder = bool(struct.unpack_from("<H", entry, 4)[0] & _FOLDER)
        if valid > size or size > self.clusters.count * self.clusters.size:
            raise self._volume.damaged(f"the entries at byte {place} tell an impossible size of {size} bytes")
        if is_folder and not self.clusters.has(cluster):
            raise self._volume.damaged(f"the entries at byte {place} are a folder in the cluster {cluster}")
        created, modified = struct.unpack_from("<II", entry, 8)
        return utf16_name(name), FatNode(
            key=(is_folder, cluster if is_folder else place),
            cluster=cluster,
            size=size,
            contiguous=bool(stream[1] & _CONTIGUOUS),
            valid=valid,
            modified=_moment(modified, entry[21], entry[23]),
            created=_moment(created, entry[20], entry[22]),
        )


def _checksum(entry: bytes, others: list[bytes]) -> int:
    checksum = 0
    for at, byte in enumerate(entry + b"".join(others)):
        if at not in (2, 3):
            checksum = ((checksum >> 1) | (checksum & 1) << 15) + byte & 0xFFFF
    return checksum


def _moment(stamp: int, hundredths: int, zone: int) -> datetime | None:
    """Return a time in UTC, if its zone is known, and otherwise as if it were UTC."""
    local = dos_moment(stamp >> 16, stamp & 0xFFFF, hundredths)
    if local is None or not zone & _ZONE_IS_KNOWN:
        return local
    quarters = (zone & 0x7F) - (0x80 if zone & 0x40 else 0)
    return local - timedelta(minutes=15 * quarters)
