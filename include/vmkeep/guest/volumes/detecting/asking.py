"""Asks all detectors about one volume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.volumes.detecting.containers import find_bitlocker, find_luks, find_lvm, find_raid
from vmkeep.guest.volumes.detecting.content import Content, Detector, Head
from vmkeep.guest.volumes.detecting.fat import find_exfat, find_fat
from vmkeep.guest.volumes.detecting.linux import find_btrfs, find_ext, find_swap, find_xfs
from vmkeep.guest.volumes.detecting.ntfs import find_ntfs
from vmkeep.guest.volumes.detecting.others import find_others, find_zfs
from vmkeep.model.blockio import RandomDisk

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


def detect_all(disk: RandomDisk, on_damage: Callable[[CorruptError], None] = lambda _error: None) -> Iterator[Content]:
    """Yield all contents whose signatures a volume bears, the likeliest first.

    :param on_damage: takes the error of a stored block that is damaged, in which another signature could be.
    :raises CorruptError: a stored block is damaged, and no signature was found in the others.
    """
    head = Head(disk)
    lost: CorruptError | None = None
    bare = True
    for find in _DETECTORS:
        try:
            found = find(head)
        except CorruptError as error:
            lost = error
            on_damage(error)
            continue
        if found is not None:
            bare = False
            yield found
    if lost is not None and bare:
        raise lost


def detect(disk: RandomDisk) -> Content | None:
    """Return the content of a volume; ``None``: no signature is known.

    :raises CorruptError: a stored block is damaged.
    """
    return next(detect_all(disk), None)
