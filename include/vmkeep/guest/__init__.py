"""Looks into the disks of a guest: partitions, LVM, and file systems. It knows no repository.

Everything that it reads was written by a stranger: each length has a limit, each structure is checked, and nothing
makes it crash, hang or use much memory.

``disks`` names the disks of one guest (``DiskInGuest``) and reads their metadata. The rooms are ``partitions``,
``lvm`` with the check of its volume groups, and ``volumes``, which makes a disk of everything that may hold a file
system.
"""

from vmkeep.guest.disks import DiskInGuest

__all__ = ["DiskInGuest"]
