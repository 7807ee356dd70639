"""NTFS. Microsoft describes only parts of it; the rest is known from the documentation of the Linux-NTFS project.

Everything is a *record* of the master file table, with attributes: its names, its content, its index if it is a folder.
:mod:`boot` says where the table is, :mod:`records` reads records, :mod:`streams` finds the clusters of an attribute,
:mod:`compression` unpacks it, :mod:`folders` reads indexes, :mod:`links` reparse points, and :mod:`reader` puts them
together. :mod:`state` tells whether the volume was unmounted. Its log is not replayed.

A file's alternate data streams are listed as files of their own, named ``FILE:STREAM``, right behind it.
"""

from vmkeep.guest.filesystems.ntfs.reader import open_ntfs
from vmkeep.guest.filesystems.ntfs.state import ntfs_state

__all__ = ["ntfs_state", "open_ntfs"]
