"""Looks into the disks of a guest: partitions, LVM, and file systems. It knows no repository.

Everything that it reads was written by a stranger: each length has a limit, each structure is checked, and nothing
makes it crash, hang or use much memory.
"""

__all__: list[str] = []
