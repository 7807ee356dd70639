"""The header of a qcow2 image: versions 2 and 3, made and checked."""

from __future__ import annotations

import struct

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.imagefile import ImageFile
from vmkeep.lateclass import dataclass

MAGIC = b"QFI\xfb"
COPIED = 1 << 63
"""Bit of an L1 or L2 entry: exactly one entry names the cluster."""
SECTOR = 512
MOST_TABLE = 32 << 20
"""Largest L1 table, in bytes: QEMU opens no larger one."""
_FIXED = struct.Struct(">4sIQIIQIIQQIIQ")
"""Magic, version, place and length of the backing file's name, cluster bits, size, encryption, L1 size and place,
refcount table's place and clusters, number and place of snapshots: all of version 2."""
_MORE = struct.Struct(">QQQII")
"""The fields that version 3 adds: incompatible, compatible and auto-clear features, refcount order, header length."""
AUTOCLEAR_AT = _FIXED.size + 16
"""Byte at which version 3 has the features that a writer clears if it does not know them."""
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_LONGEST_NAME = 1023
_SMALLEST, _LARGEST = 9, 21
"""Cluster bits: clusters have 512 bytes to 2 MiB."""
_LARGEST_DISK = 1 << 56
_DIRTY, _CORRUPT, _EXTERNAL, _COMPRESSION, _EXTENDED = (1 << bit for bit in range(5))
_ENCRYPTIONS = {1: "AES", 2: "LUKS"}
_COMPRESSIONS = {0: "zlib", 1: "zstd"}


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

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits

    @property
    def extended(self) -> bool:
        """Whether each L2 entry tells the state of 32 parts of its cluster."""
        return bool(self.incompatible & _EXTENDED)

    @property
    def table_entries(self) -> int:
        """Entries of an L2 table."""
        return self.cluster // (16 if self.extended else 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A checked header, and what stands beside its numbers."""

    header: Header
    compression: str
    backing: str | None
    """Name of the backing file; ``None``: there is none."""
    backing_format: str | None


def read_opening(file: ImageFile) -> Opening:
    """Read and check the header of an image.

    :raises UsageError: it is no qcow2 image, or damaged.
    :raises UnsupportedError: the image has a feature that cannot be read.
    """
    version, header = _numbers(file)
    _require_readable(file.name, header)
    _require_sound(file, header)
    number = 0
    if header.incompatible & _COMPRESSION and header.length > _FIXED.size + _MORE.size:
        number = file.read(_FIXED.size + _MORE.size, 1)[0]
    if number not in _COMPRESSIONS:
        raise UnsupportedError(f"{file.name}: its clusters are compressed in a way that is not known (type {number})")
    backing = None
    if header.backing_offset:
        if not 0 < header.backing_length <= _LONGEST_NAME or header.backing_offset > header.cluster:
            raise UsageError(f"{file.name}: is damaged: byte 8 gives its backing file a name at no possible place")
        backing = file.read(header.backing_offset, header.backing_length).decode(errors="surrogateescape")
    start = header.length if version > 2 else _FIXED.size
    return Opening(
        header=header,
        compression=_COMPRESSIONS[number],
        backing=backing,
        backing_format=_backing_format(file, header, start),
    )


def _numbers(file: ImageFile) -> tuple[int, Header]:
    fixed = _FIXED.unpack(file.read(0, _FIXED.size))
    if fixed[0] != MAGIC:
        raise UsageError(f"{file.name}: is no qcow2 image: it does not begin with its signature")
    version = fixed[1]
    if version not in (2, 3):
        raise UnsupportedError(f"{file.name}: has version {version} of qcow2; versions 2 and 3 can be read")
    more = _MORE.unpack(file.read(_FIXED.size, _MORE.size)) if version > 2 else (0, 0, 0, 4, _FIXED.size)
    names = (
        "version", "backing_offset", "backing_length", "cluster_bits", "size", "encryption", "l1_entries", "l1_offset",
        "refcounts_offset", "refcounts_clusters", "snapshots", "snapshots_offset", "incompatible", "compatible",
        "autoclear", "refcount_order", "length",
    )  # fmt: skip
    return version, Header(**dict(zip(names, (*fixed[1:], *more), strict=True)))


def _require_readable(name: str, header: Header) -> None:
    if header.encryption:
        kind = _ENCRYPTIONS.get(header.encryption, f"method {header.encryption}")
        raise UnsupportedError(
            f"{name}: is encrypted ({kind}): decrypt it first, by 'qemu-img convert' with its secret"
        )
    if header.incompatible & _CORRUPT:
        raise UsageError(
            f"{name}: QEMU has marked it as corrupt: look with 'qemu-img check', mend with 'qemu-img check -r all'"
        )
    if header.incompatible & _DIRTY:
        raise UsageError(
            f"{name}: was not closed by its last writer: is its VM still running? Else 'qemu-img check -r all'"
        )
    if header.incompatible & _EXTERNAL:
        raise UnsupportedError(
            f"{name}: keeps its data in another file: convert it first, by 'qemu-img convert -O qcow2'"
        )
    unknown = header.incompatible & ~(_COMPRESSION | _EXTENDED)
    if unknown:
        raise UnsupportedError(f"{name}: needs features of qcow2 that are not known (bits {unknown:#x})")


def _require_sound(file: ImageFile, header: Header) -> None:
    """Require numbers that agree with each other and with the file's size, before memory is taken for any of them."""
    wrong = ""
    if not _SMALLEST <= header.cluster_bits <= _LARGEST or (header.extended and header.cluster_bits < 14):
        wrong = f"byte 20 tells clusters of 2^{header.cluster_bits} bytes"
    elif header.version > 2 and not _FIXED.size + _MORE.size <= header.length <= header.cluster:
        wrong = f"byte 100 tells a header of {header.length} bytes"
    elif header.l1_entries * 8 > MOST_TABLE:
        wrong = f"byte 36 tells an L1 table of {header.l1_entries} entries"
    elif header.l1_entries * header.table_entries * header.cluster < header.size:
        wrong = f"its L1 table of {header.l1_entries} entries is too small for a disk of {header.size} bytes"
    elif header.l1_entries and (header.l1_offset % header.cluster or not header.l1_offset):
        wrong = f"byte 40 tells that the L1 table lies at byte {header.l1_offset}"
    elif header.l1_offset + header.l1_entries * 8 > file.size:
        wrong = f"its L1 table would end beyond the file's {file.size} bytes"
    if wrong:
        raise UsageError(f"{file.name}: is damaged: {wrong}")
    if header.size > _LARGEST_DISK:
        raise UnsupportedError(f"{file.name}: a disk of {header.size} bytes is too large to be stored")
    if header.size % SECTOR:
        up = -(-header.size // SECTOR) * SECTOR
        raise UsageError(
            f"{file.name}: a disk of {header.size} bytes is not a whole number of {SECTOR}-byte sectors: make it one "
            f"by 'qemu-img resize {file.path} {up}'"
        )


def _backing_format(file: ImageFile, header: Header, at: int) -> str | None:
    """Find the name of the backing file's format among the extensions, which end before the backing file's name."""
    end = min(header.cluster, file.size, header.backing_offset or header.cluster)
    while at + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack(file.read(at, _EXTENSION.size))
        at += _EXTENSION.size
        if not kind or at + length > end:
            return None
        if kind == _BACKING_FORMAT:
            return file.read(at, min(length, 64)).decode(errors="replace")
        at += -(-length // 8) * 8
    return None
