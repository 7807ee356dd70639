"""Tells the content of a volume by the signatures of file systems and of the layers below them.

Each detector checks more than a magic number where it can, because old signatures stay on disks that were formatted
anew. Layers come before file systems, because a member of a mirror shows the file system inside it, too. It reads
the first 72 KiB, a few small places, and a little at the end: of a disk in a repository, two or three blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from vmkeep.guest.volumes.detecting.arrays import Member, find_member
from vmkeep.guest.volumes.detecting.containers import find_bitlocker, find_luks, find_lvm, find_raid
from vmkeep.guest.volumes.detecting.content import READY, REPLAY, UNCLEAN, Content, Detector, Head
from vmkeep.guest.volumes.detecting.fat import find_exfat, find_fat
from vmkeep.guest.volumes.detecting.linux import find_btrfs, find_ext, find_swap, find_xfs
from vmkeep.guest.volumes.detecting.ntfs import find_ntfs
from vmkeep.guest.volumes.detecting.others import find_others, find_zfs, unread
from vmkeep.model.blockio import RandomDisk

__all__ = [
    "READY",
    "REPLAY",
    "UNCLEAN",
    "Content",
    "Head",
    "Member",
    "detect",
    "detect_all",
    "find_member",
    "unread",
]

_DETECTORS: Final[tuple[Detector, ...]] = (
    find_raid,
    find_lvm,
    find_luks,
    find_bitlocker,
    find_xfs,
    find_ext,
    find_btrfs,
    find_ntfs,
    find_exfat,
    find_swap,
    find_fat,
    find_others,
    find_zfs,
)


def detect_all(disk: RandomDisk) -> Iterator[Content]:
    """Yield all contents whose signatures a volume bears, the likeliest first.

    :raises CorruptError: a stored block is damaged.
    """
    head = Head(disk)
    for find in _DETECTORS:
        if (found := find(head)) is not None:
            yield found


def detect(disk: RandomDisk) -> Content | None:
    """Return the content of a volume; ``None``: no signature is known.

    :raises CorruptError: a stored block is damaged.
    """
    return next(detect_all(disk), None)
