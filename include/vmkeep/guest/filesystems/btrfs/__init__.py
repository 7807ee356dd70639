"""btrfs on one device, after the on-disk format in the project's own documentation.

Everything is an item in a B-tree, found by a key of three numbers. Places are logical; :mod:`chunks` maps them to the
device. :mod:`superblock` finds the first trees, :mod:`nodes` reads and checks their nodes, :mod:`items` names what is
in them, :mod:`content` joins the extents of a file, :mod:`compression` unpacks them, and :mod:`reader` puts them
together. All subvolumes and snapshots are listed where they lie, from the top of the file system.
"""

from vmkeep.guest.filesystems.btrfs.reader import open_btrfs

__all__ = ["open_btrfs"]
