"""File systems of Linux, by their superblocks: ext2, ext3, ext4, XFS, btrfs, and areas for swap.

Layouts are those of the kernel: ``fs/ext4/ext4.h``, ``fs/xfs/libxfs/xfs_format.h``, ``fs/btrfs`` and
``include/linux/swap.h``.
"""

from __future__ import annotations

from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.guest.filesystems import xfs_was_unmounted
from vmkeep.guest.volumes.detecting.content import (
    READY,
    REPLAY,
    UNCLEAN,
    Content,
    Head,
    dashed,
    is_power_of_two,
    text,
)

_EXT: Final = 1024
_HAS_JOURNAL: Final = 0x4
_NEEDS_RECOVERY: Final = 0x4
_JOURNAL_DEVICE: Final = 0x8
_OF_EXT3: Final = (0x2 | 0x4 | 0x10, 0x1 | 0x2 | 0x4)
"""Features of ext3, incompatible and read-only compatible ones. Any other makes a file system an ext4."""
_BTRFS: Final = 64 << 10
_PAGES: Final = (4096, 8192, 16384, 65536)
"""Sizes of memory pages; the signature of an area for swap is at the end of its first page."""


def find_ext(head: Head) -> Content | None:
    """Find ext2, ext3 and ext4, or the journal of one that keeps it on a device of its own."""
    if head.number("<H", _EXT + 56) != 0xEF53:
        return None
    blocks, log_size = head.number("<I", _EXT + 4), head.number("<I", _EXT + 24)
    compatible, incompatible, read_only = head.numbers("<III", _EXT + 92)
    label, uuid = text(head.at(_EXT + 120, 16)), dashed(head.at(_EXT + 104, 16))
    if incompatible & _JOURNAL_DEVICE:
        refusal = "it holds the journal of a file system on another volume, and no files"
        return Content(kind="ext-journal", label=label, uuid=uuid, refusal=refusal)
    if log_size > 6 or not blocks or not head.number("<I", _EXT + 40):
        return None
    if incompatible & 0x80:
        blocks |= head.number("<I", _EXT + 336) << 32
    kind = "ext3" if compatible & _HAS_JOURNAL else "ext2"
    if incompatible & ~_OF_EXT3[0] or read_only & ~_OF_EXT3[1]:
        kind = "ext4"
    if incompatible & _NEEDS_RECOVERY:
        state = REPLAY
    elif head.number("<H", _EXT + 58) & 3 != 1:  # bit 0: unmounted cleanly, bit 1: errors were seen
        state = UNCLEAN
    else:
        state = READY
    return Content(kind=kind, label=label, uuid=uuid, state=state, size=blocks << (10 + log_size))


def find_xfs(head: Head) -> Content | None:
    """Find XFS."""
    if head.at(0, 4) != b"XFSB":
        return None
    block, blocks = head.numbers(">IQ", 4)
    if not is_power_of_two(block, 512, 64 << 10):
        return None
    label, uuid = text(head.at(108, 12)), dashed(head.at(32, 16))
    try:
        state = READY if xfs_was_unmounted(head.disk, what="XFS") else REPLAY
    except (CorruptError, UnsupportedError):  # who reads its files gets the error; a damaged block comes here, too
        state = REPLAY
    return Content(kind="xfs", label=label, uuid=uuid, state=state, size=block * blocks)


def find_btrfs(head: Head) -> Content | None:
    """Find btrfs. One that spans several devices is refused, because each holds a part of every file."""
    if head.at(_BTRFS + 0x40, 8) != b"_BHRfS_M":
        return None
    log_root, _, _, _, _, devices = head.numbers("<QQQQQQ", _BTRFS + 0x60)
    size = head.number("<Q", _BTRFS + 0xD1) if devices == 1 else 0  # of this device, in the superblock's device item
    refusal = ""
    if devices > 1:
        refusal = f"it is one of the {devices} devices of one btrfs; restore the VM and read it there"
    return Content(
        kind="btrfs",
        label=text(head.at(_BTRFS + 0x12B, 256)),
        uuid=dashed(head.at(_BTRFS + 0x20, 16)),
        state=REPLAY if log_root else READY,
        refusal=refusal,
        size=size,
    )


def find_swap(head: Head) -> Content | None:
    """Find an area for swap, and a system that was suspended into one."""
    for page in _PAGES:
        signature = head.at(page - 10, 10)
        if signature not in (b"SWAPSPACE2", b"SWAP-SPACE") and not signature.startswith((b"S1SUSPEND", b"S2SUSPEND")):
            continue
        suspended = not signature.startswith(b"SWAP")
        return Content(
            kind="swap",
            label=text(head.at(1024 + 28, 16)),
            uuid=dashed(head.at(1024 + 12, 16)),
            state="holds a suspended system" if suspended else READY,
            refusal="it holds memory that was swapped out, and no files",
        )
    return None
