"""Opens a file system by its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from vmkeep.errors import UnsupportedError
from vmkeep.guest.filesystems.btrfs import open_btrfs
from vmkeep.guest.filesystems.ext import open_ext
from vmkeep.guest.filesystems.fat import open_exfat, open_fat
from vmkeep.guest.filesystems.ntfs import open_ntfs
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs import open_xfs
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.guestfiles import GuestFileSystem

_OPENERS: Final[dict[str, Callable[[Volume], FileTree[Any]]]] = {
    "ext2": open_ext,
    "ext3": open_ext,
    "ext4": open_ext,
    "xfs": open_xfs,
    "ntfs": open_ntfs,
    "btrfs": open_btrfs,
    "vfat": open_fat,
    "exfat": open_exfat,
}
KINDS: Final = frozenset(_OPENERS)
"""The kinds of file systems whose files can be read."""


@contextmanager
def open_file_system(disk: RandomDisk, kind: str, *, what: str) -> Iterator[GuestFileSystem]:
    """Open a file system for reading. Nothing is ever written to the disk.

    :param disk: the partition, disk or logical volume that holds it from its first byte on.
    :param kind: its kind by its signature; see :data:`KINDS`.
    :param what: the volume's name, with which messages begin, e.g. ``disk0p1``.
    :raises UnsupportedError: vmkeep cannot read file systems of this kind, or one with such features.
    :raises CorruptError: there is no such file system on the disk, or it contradicts itself.
    """
    opener = _OPENERS.get(kind)
    if opener is None:
        raise UnsupportedError(
            f"{what}: vmkeep cannot read files of the kind {kind}; it reads {', '.join(sorted(KINDS))}"
        )
    with opener(Volume(disk, what=what)) as tree:
        yield tree
