"""Thin volumes: disks whose blocks lie anywhere in a pool, as the metadata of the pool says.

``btree`` reads the trees of Linux's device mapper, in which ``pool`` finds a thin volume by its number and the place of
each of its blocks. A snapshot of a thin volume is a thin volume that shares blocks, so nothing is special about it.
Every node is checked before use: checksum, own place, order of keys. ``disk`` is the volume as a disk.
"""

from vmkeep.guest.volumes.thin.disk import ThinDisk
from vmkeep.guest.volumes.thin.pool import ThinPool

__all__ = ["ThinDisk", "ThinPool"]
