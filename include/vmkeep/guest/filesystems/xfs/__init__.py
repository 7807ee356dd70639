"""XFS, versions 4 and 5, after the XFS developers' "XFS Algorithms & Data Structures". Numbers are big-endian.

:mod:`superblock` says where things are, :mod:`inodes` reads one inode, :mod:`mapping` finds the blocks of one of its
forks (content or attributes), :mod:`folders` and :mod:`attributes` read what is in them, and :mod:`reader` puts them
together. If it was not unmounted, :mod:`log` and :mod:`transactions` read its log, and :mod:`replay` carries it out in
memory.
"""

from vmkeep.guest.filesystems.xfs.log import xfs_was_unmounted
from vmkeep.guest.filesystems.xfs.reader import open_xfs

__all__ = ["open_xfs", "xfs_was_unmounted"]
