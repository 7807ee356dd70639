"""The superblock of ext2, ext3 and ext4, and the group descriptors: where inodes lie."""

from __future__ import annotations

import struct
from typing import Final

from vmkeep.guest.filesystems.fields import Fields
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

OFFSET: Final = 1024
SIZE: Final = 1024
_MAGIC: Final = 0xEF53
_SMALLEST_INODE: Final = 128
_LARGEST_BLOCK: Final = 1 << 16

HAS_JOURNAL: Final = 0x4  # a compatible feature
SPARSE_SUPER2: Final = 0x200  # a compatible feature

NEEDS_RECOVERY: Final = 0x4
JOURNAL_DEVICE: Final = 0x8
META_BG: Final = 0x10
EXTENTS: Final = 0x40
SIXTY_FOUR_BIT: Final = 0x80
FILE_TYPE: Final = 0x2
_READ: Final[dict[int, str]] = {
    FILE_TYPE: "filetype",
    NEEDS_RECOVERY: "needs_recovery",
    META_BG: "meta_bg",
    EXTENTS: "extents",
    SIXTY_FOUR_BIT: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    0x2000: "metadata_csum_seed",
    0x4000: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
"""The incompatible features that this reader knows."""
_REFUSED: Final[dict[int, str]] = {
    0x1: "compression",
    JOURNAL_DEVICE: "journal_dev",
    0x1000: "dirdata",
}
_OF_EXT4: Final = EXTENTS | META_BG | SIXTY_FOUR_BIT | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000 | 0x30000
"""Incompatible features that only ext4 has."""
_COMPATIBLE_OF_EXT3: Final = 0x1 | 0x2 | 0x4
"""Read-only compatible features that ext2 and ext3 have: sparse_super, large_file, btree_dir."""
_SPARSE_SUPER: Final = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """Fields of the superblock. Sizes in bytes, places in blocks."""

    block_size: int
    blocks: int
    first_data_block: int
    inodes: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    descriptor_size: int
    first_meta_bg: int
    backups: tuple[int, int]
    compatible: int
    incompatible: int
    read_only: int
    journal_inode: int
    uuid: bytes

    @property
    def kind(self) -> str:
        """The kind by the features, as ``blkid`` tells it."""
        if self.incompatible & _OF_EXT4 or self.read_only & ~_COMPATIBLE_OF_EXT3:
            return "ext4"
        return "ext3" if self.compatible & HAS_JOURNAL else "ext2"

    @property
    def needs_recovery(self) -> bool:
        """Whether the journal may hold changes that are not yet in their places."""
        return bool(self.incompatible & NEEDS_RECOVERY)

    def inode_place(self, volume: Volume, number: int) -> int:
        """Return the byte offset of an inode.

        :raises CorruptError: there is no inode of that number.
        """
        if not 1 <= number <= self.inodes:
            raise volume.damaged(f"it names the inode {number}, but has only {self.inodes}")
        group, index = divmod(number - 1, self.inodes_per_group)
        found = volume.read(self._descriptor_place(group), self.descriptor_size)
        (table,) = struct.unpack_from("<I", found, 8)
        if self.descriptor_size >= 64:
            table |= struct.unpack_from("<I", found, 0x28)[0] << 32
        if not 0 < table < self.blocks:
            raise volume.damaged(f"the inodes of group {group} lie in block {table}, which is not on the volume")
        return int(table * self.block_size + index * self.inode_size)

    def _descriptor_place(self, group: int) -> int:
        per_block = self.block_size // self.descriptor_size
        meta, index = divmod(group, per_block)
        if self.incompatible & META_BG and meta >= self.first_meta_bg:
            first = meta * per_block
            block = first * self.blocks_per_group + self.first_data_block + self._has_backup(first)
            if not first and self.block_size == OFFSET and not self.first_data_block:
                block += 1
        else:
            block = max(self.first_data_block, OFFSET // self.block_size) + 1 + meta
        return block * self.block_size + index * self.descriptor_size

    def _has_backup(self, group: int) -> bool:
        if not group:
            return True
        if self.compatible & SPARSE_SUPER2:
            return group in self.backups
        if group == 1 or not self.read_only & _SPARSE_SUPER:
            return True
        return any(_is_power(group, base) for base in (3, 5, 7))


def _is_power(number: int, base: int) -> bool:
    while number > 1 and number % base == 0:
        number //= base
    return number == 1


def read_superblock(volume: Volume) -> Superblock:
    """Read the superblock at byte 1024.

    :raises CorruptError: there is none, or it contradicts itself.
    :raises UnsupportedError: it has features that this reader does not know.
    """
    data = volume.read(OFFSET, SIZE) if volume.capacity >= OFFSET + SIZE else bytes(SIZE)
    its = Fields(data, "little")
    if its.half(0x38) != _MAGIC:
        raise volume.damaged("it has no superblock of ext2, ext3 or ext4")
    dynamic = its.word(0x4C) >= 1
    incompatible = its.word(0x60) if dynamic else 0
    wide = bool(incompatible & SIXTY_FOUR_BIT)
    found = Superblock(
        block_size=1024 << min(its.word(0x18), 16),
        blocks=its.word(4) | (its.word(0x150) << 32 if wide else 0),
        first_data_block=its.word(0x14),
        inodes=its.word(0),
        blocks_per_group=its.word(0x20),
        inodes_per_group=its.word(0x28),
        inode_size=its.half(0x58) if dynamic else _SMALLEST_INODE,
        descriptor_size=(its.half(0xFE) or 64) if wide else 32,
        first_meta_bg=its.word(0x104),
        backups=(its.word(0x24C), its.word(0x250)),
        compatible=its.word(0x5C) if dynamic else 0,
        incompatible=incompatible,
        read_only=its.word(0x64) if dynamic else 0,
        journal_inode=its.word(0xE0),
        uuid=data[0x68:0x78],
    )
    _check(volume, found)
    return found


def _check(volume: Volume, found: Superblock) -> None:
    refused = [name for bit, name in _REFUSED.items() if found.incompatible & bit]
    unknown = found.incompatible & ~sum(_READ) & ~sum(_REFUSED)
    if unknown:
        refused.append(f"0x{unknown:x}")
    if refused:
        raise volume.refused(f"vmkeep cannot read the features {', '.join(refused)} of this {found.kind}")
    sizes = (found.inode_size, found.descriptor_size)
    if (
        found.block_size > _LARGEST_BLOCK
        or any(size & (size - 1) or size > found.block_size for size in sizes)
        or found.inode_size < _SMALLEST_INODE
        or found.descriptor_size < 32
        or not found.inodes_per_group
        or not found.blocks_per_group
    ):
        raise volume.damaged("the superblock holds sizes that no ext file system has")
    if found.blocks * found.block_size > volume.capacity:
        raise volume.damaged(
            f"it has {found.blocks * found.block_size} bytes, but the volume only {volume.capacity}; a part of it is "
            "missing"
        )
