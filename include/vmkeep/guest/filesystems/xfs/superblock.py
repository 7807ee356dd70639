"""The superblock of XFS: where inodes and blocks lie."""

from __future__ import annotations

from typing import Final

from vmkeep.guest.filesystems.fields import Fields
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

_MAGIC: Final = b"XFSB"
_SIZE: Final = 512
_SECTOR: Final = 512

FILE_TYPE: Final = 0x1
SPARSE_INODES: Final = 0x2
META_UUID: Final = 0x4
BIG_TIME: Final = 0x8
NEEDS_REPAIR: Final = 0x10
NREXT64: Final = 0x20
EXCHANGE: Final = 0x40
PARENTS: Final = 0x80
_KNOWN: Final = FILE_TYPE | SPARSE_INODES | META_UUID | BIG_TIME | NEEDS_REPAIR | NREXT64 | EXCHANGE | PARENTS
_FILE_TYPE_OF_V4: Final = 0x200


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Fields of the superblock. Sizes in bytes."""

    version: int
    block_size: int
    blocks: int
    group_blocks: int
    groups: int
    group_bits: int
    """Bits of a block's number within its allocation group."""
    inode_size: int
    inode_bits: int
    """Bits of an inode's index within its block."""
    folder_block: int
    root: int
    log_start: int
    """Block number of the log; 0: it is on another device."""
    log_blocks: int
    incompatible: int
    has_file_types: bool

    @property
    def has_checksums(self) -> bool:
        """Whether blocks of metadata have the longer headers of version 5."""
        return self.version == 5

    def place(self, volume: Volume, block: int, count: int = 1) -> int:
        """Return the byte offset of blocks by the number of the first.

        :raises CorruptError: they are not all in one allocation group of the volume.
        """
        group, within = block >> self.group_bits, block & ((1 << self.group_bits) - 1)
        start = group * self.group_blocks + within
        if group >= self.groups or within + count > self.group_blocks or start + count > self.blocks:
            raise volume.damaged(f"it names the block {block}, which is not on the volume")
        return start * self.block_size

    def inode_place(self, volume: Volume, number: int) -> int:
        """Return the byte offset of an inode.

        :raises CorruptError: it is not on the volume.
        """
        index = number & ((1 << self.inode_bits) - 1)
        return self.place(volume, number >> self.inode_bits) + index * self.inode_size


def read_superblock(volume: Volume) -> Superblock:
    """Read the superblock at the volume's beginning.

    :raises CorruptError: there is none, or it contradicts itself.
    :raises UnsupportedError: it has features that this reader does not know.
    """
    data = volume.read(0, _SIZE) if volume.capacity >= _SIZE else bytes(_SIZE)
    if data[:4] != _MAGIC:
        raise volume.damaged("it has no superblock of XFS")
    its = Fields(data, "big")
    version = its.half(100) & 0xF
    if version not in (4, 5):
        raise volume.refused(f"vmkeep cannot read version {version} of XFS")
    incompatible = its.word(216) if version == 5 else 0
    found = Superblock(
        version=version,
        block_size=its.word(4),
        blocks=its.long(8),
        group_blocks=its.word(84),
        groups=its.word(88),
        group_bits=data[124],
        inode_size=its.half(104),
        inode_bits=data[123],
        folder_block=its.word(4) << min(data[192], 16),
        root=its.long(56),
        log_start=its.long(48),
        log_blocks=its.word(96),
        incompatible=incompatible,
        has_file_types=bool(incompatible & FILE_TYPE if version == 5 else its.word(200) & _FILE_TYPE_OF_V4),
    )
    _check(volume, found)
    return found


def _check(volume: Volume, found: Superblock) -> None:
    unknown = found.incompatible & ~_KNOWN
    if unknown:
        raise volume.refused(f"vmkeep cannot read the features 0x{unknown:x} of this XFS")
    if (
        found.block_size & (found.block_size - 1)
        or not 512 <= found.block_size <= 1 << 16
        or found.folder_block > 1 << 16
        or found.inode_size & (found.inode_size - 1)
        or not 256 <= found.inode_size <= 2048
        or found.inode_size << found.inode_bits != found.block_size
        or found.group_bits > 32
        or not 0 < found.group_blocks <= 1 << found.group_bits
        or not 0 < found.blocks <= found.groups * found.group_blocks
    ):
        raise volume.damaged("the superblock holds sizes that no XFS has")
    if found.blocks * found.block_size > volume.capacity:
        raise volume.damaged(
            f"it has {found.blocks * found.block_size} bytes, but the volume only {volume.capacity}; a part of it is "
            "missing"
        )
