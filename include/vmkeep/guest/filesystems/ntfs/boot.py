"""The boot sector of NTFS."""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

_SIGNATURE: Final = b"NTFS    "


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Sizes in bytes."""

    cluster: int
    clusters: int
    table: int
    """Cluster of the first record of the master file table."""
    record: int


def read_boot(volume: Volume, *, may_be_cut: bool = False) -> Boot:
    """Read the boot sector.

    :param may_be_cut: take a file system of which the volume lacks the end.
    :raises CorruptError: there is none, or it contradicts itself.
    """
    data = volume.read(0, 512) if volume.capacity >= 512 else bytes(512)
    if data[3:11] != _SIGNATURE:
        raise volume.damaged("it has no boot sector of NTFS")
    (sector,) = struct.unpack_from("<H", data, 11)
    per_cluster = data[13] if data[13] <= 0x80 else 1 << min(256 - data[13], 31)
    sectors, table = struct.unpack_from("<QQ", data, 40)
    cluster = sector * per_cluster
    if sector not in (256, 512, 1024, 2048, 4096) or not cluster or cluster & (cluster - 1) or cluster > 2 << 20:
        raise volume.damaged("the boot sector holds sizes that no NTFS has")
    (per_record,) = struct.unpack_from("<b", data, 64)
    record = per_record * cluster if per_record > 0 else 1 << min(-per_record, 31)
    if not 512 <= record <= 1 << 16 or record & (record - 1):
        raise volume.damaged("the boot sector holds sizes that no NTFS has")
    if sectors * sector > volume.capacity and not may_be_cut:
        raise volume.damaged(
            f"it has {sectors * sector} bytes, but the volume only {volume.capacity}; a part of it is missing"
        )
    return Boot(cluster=cluster, clusters=sectors * sector // cluster, table=table, record=record)
