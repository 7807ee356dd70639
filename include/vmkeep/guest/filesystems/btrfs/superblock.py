"""The superblock of btrfs."""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.filesystems.btrfs.checksums import CHECKSUMS, ROOM
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

_PLACE: Final = 64 << 10
_SIZE: Final = 4096
_MAGIC: Final = b"_BHRfS_M"
_KNOWN: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x800 | 0x1000 | 0x2000
"""Incompatible features: all up to extent-tree-v2, without zoned (0x1000) being of any meaning to a reader."""
_LARGEST_ARRAY: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Fields of the superblock. Places are logical, sizes in bytes."""

    fsid: bytes
    """The id that is in each node."""
    root: int
    root_level: int
    chunk_root: int
    chunk_level: int
    log_root: int
    devices: int
    device: int
    sector: int
    node: int
    checksum: int
    system_chunks: bytes


def read_superblock(volume: Volume) -> Superblock:
    """Read the superblock at 64 KiB.

    :raises CorruptError: there is none, or its checksum is wrong.
    :raises UnsupportedError: it has features that this reader does not know, or is on several devices.
    """
    data = volume.read(_PLACE, _SIZE) if volume.capacity >= _PLACE + _SIZE else bytes(_SIZE)
    if data[64:72] != _MAGIC:
        raise volume.damaged("it has no superblock of btrfs")
    root, chunk_root, log_root, _, total = struct.unpack_from("<5Q", data, 80)
    (devices,) = struct.unpack_from("<Q", data, 136)
    sector, node, _, _, array = struct.unpack_from("<5I", data, 144)
    (incompatible,) = struct.unpack_from("<Q", data, 188)
    kind, root_level, chunk_level = struct.unpack_from("<HBB", data, 196)
    (device,) = struct.unpack_from("<Q", data, 201)
    if incompatible & ~_KNOWN or kind not in CHECKSUMS:
        raise volume.refused(f"vmkeep cannot read the features 0x{incompatible:x} of this btrfs, or its checksums")
    expected = CHECKSUMS[kind](data[ROOM:])
    if data[: len(expected)] != expected:
        raise volume.damaged("the checksum of its superblock is wrong")
    if devices != 1:
        raise volume.refused(f"it is one of {devices} devices of a btrfs, and vmkeep reads only those on one device")
    if (
        sector not in (4096, 8192, 16384, 32768, 65536)
        or node & (node - 1)
        or not 4096 <= node <= 65536
        or array > _LARGEST_ARRAY
    ):
        raise volume.damaged("the superblock holds sizes that no btrfs has")
    if total > volume.capacity:
        raise volume.damaged(f"it has {total} bytes, but the volume only {volume.capacity}; a part of it is missing")
    return Superblock(
        fsid=data[32:48],
        root=root,
        root_level=root_level,
        chunk_root=chunk_root,
        chunk_level=chunk_level,
        log_root=log_root,
        devices=devices,
        device=device,
        sector=sector,
        node=node,
        checksum=kind,
        system_chunks=data[811 : 811 + array],
    )
