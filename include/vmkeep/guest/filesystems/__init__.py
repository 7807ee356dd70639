"""Reads the files of a guest: ext2, ext3, ext4, XFS, NTFS, FAT, exFAT and btrfs.

Every kind has a reader of its own in this room, in Python, because what it reads was written by a stranger
(docs/decisions/0074). A reader knows nodes, e.g. inode numbers; :mod:`tree` makes paths of them. Content is read
straight from the disk, run by run, so that memory is bounded and a large file costs no more than reading it. Metadata
goes through a cache of 12 MiB.

A file is given whole, or not at all: what contradicts itself is a :class:`vmkeep.errors.CorruptError`, and what a
reader cannot read, e.g. an encrypted file, a :class:`vmkeep.errors.UnsupportedError` that names it. Files that may be
missing or old, because a journal was not replayed, are in the warnings.
"""

from vmkeep.guest.filesystems.ntfs import ntfs_state
from vmkeep.guest.filesystems.opening import KINDS, open_file_system
from vmkeep.guest.filesystems.xfs import xfs_was_unmounted

__all__ = ["KINDS", "ntfs_state", "open_file_system", "xfs_was_unmounted"]
