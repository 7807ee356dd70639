"""ext2, ext3 and ext4, after the kernel's Documentation/filesystems/ext4.

:mod:`superblock` says where things are, :mod:`inodes` reads one inode, :mod:`mapping` finds the blocks of a file by
extents or by block maps, :mod:`attributes` reads extended attributes, and :mod:`reader` puts them together. If the
file system was not unmounted, :mod:`journal` reads the journal (jbd2) by its superblock (:mod:`journalsuper`), and
:mod:`overlay` shows the disk as it would be after the replay, without writing anything.
"""

from vmkeep.guest.filesystems.ext.opening import open_ext

__all__ = ["open_ext"]
