"""Disks of the lab's datastores: made, read, written, tracked and consolidated as ESXi does it."""

from vmlab.disks.core import DiskError
from vmlab.disks.handle import DiskHandle
from vmlab.disks.store import DiskInfo, DiskStore

__all__ = ["DiskError", "DiskHandle", "DiskInfo", "DiskStore"]
