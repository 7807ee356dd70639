"""The header of a qcow2 image: versions 2 and 3."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
COPIED = 1 << 63
"""Bit of an L1 or L2 entry: exactly one entry names the cluster."""
_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, place and length of the backing file's name, cluster bits, size, encryption, L1 size and place,
refcount table's place and clusters, number and place of snapshots: all of version 2."""
_MORE = struct.Struct(">QQQII")
"""What version 3 adds: incompatible, compatible and auto-clear features, refcount order, header length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The numbers of a header, as they are in the file."""

    version: int = 3
    backing_offset: int = 0
    backing_length: int = 0
    cluster_bits: int
    size: int
    """Size of the disk in bytes."""
    encryption: int = 0
    l1_entries: int
    l1_offset: int
    refcounts_offset: int
    refcounts_clusters: int
    snapshots: int = 0
    snapshots_offset: int = 0
    incompatible: int = 0
    compatible: int = 0
    autoclear: int = 0
    refcount_order: int = 4
    """Two to the power of it are the bits of a reference count."""
    length: int = _FIXED.size + _MORE.size
    """Bytes of the header, without extensions."""

    def pack(self) -> bytes:
        """Return the header of version 3, with the mark that no extension follows."""
        fixed = _FIXED.pack(
            MAGIC, self.version, self.backing_offset, self.backing_length, self.cluster_bits, self.size,
            self.encryption, self.l1_entries, self.l1_offset, self.refcounts_offset, self.refcounts_clusters,
            self.snapshots, self.snapshots_offset,
        )  # fmt: skip
        more = _MORE.pack(self.incompatible, self.compatible, self.autoclear, self.refcount_order, self.length)
        return fixed + more + bytes(8)
