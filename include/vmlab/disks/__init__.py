"""Virtual disks on the lab's datastores: made, read, written, tracked and consolidated as ESXi does it.

A disk is a chain of links. Each link is a text descriptor and a data file; a snapshot adds an empty link on top, and
consolidating merges a link into its parent. `store` does this by datastore path, `handle` reads and writes an open
disk, `core` calls the C library that does the work. `change_tracking` keeps a stamp per 64 KiB block beside each link,
from which it answers what has changed since a changeId.

Knows no VM, no power state and no snapshot tree: the caller decides which call is allowed when.
"""

from vmlab.disks.change_tracking import UnknownChangeIdError
from vmlab.disks.core import DiskError
from vmlab.disks.handle import DiskHandle
from vmlab.disks.path_names import split_path
from vmlab.disks.store import DiskInfo, DiskStore

__all__ = ["DiskError", "DiskHandle", "DiskInfo", "DiskStore", "UnknownChangeIdError", "split_path"]
