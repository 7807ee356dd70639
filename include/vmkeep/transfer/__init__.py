"""Copies disks into the repository and back out of it, and checks stored disks.

Names are loaded on first use, because a transfer's child process imports this package before VDDK is initialised, and
nothing heavy may be imported before that.

``storing`` reads a disk and stores it, ``writing`` does the reverse, ``verify`` reads the stored disk again, and
``mapcopy`` copies a disk between repositories. ``reading`` reads a disk's blocks in the order of packs, which is the
fastest, and ``inorder`` in the order of the disk. ``view`` reads a disk at any place: ``block_cache`` keeps blocks,
``read_ahead`` names those that come next, and ``disk_file`` is a file over the disk. ``pipeline`` runs reading, hashing
and storing at the same time. ``drivers`` chooses the disk driver. ``starting`` makes the request for each kind of
transfer, ``child_process`` runs the child process that holds the driver's library, and ``child`` is that process: it
imports the one of ``copytask``, ``writetask`` and ``accesstask`` that its request needs. ``protocol`` has the messages
between the two.
``mapcopy`` and ``progress`` are doors of their own.
"""

from typing import TYPE_CHECKING

from vmkeep.doors import loaded_on_use

if TYPE_CHECKING:
    from vmkeep.transfer.child_process import RunningTransfer
    from vmkeep.transfer.compare import compare_disk
    from vmkeep.transfer.disk_file import DiskFile
    from vmkeep.transfer.drivers import choose_driver, find_drivers
    from vmkeep.transfer.inorder import BlocksInOrder, read_in_order
    from vmkeep.transfer.starting import change_access, probe_driver, start_copy, start_write
    from vmkeep.transfer.storing import StoredDisk, back_up_disk
    from vmkeep.transfer.verify import verify_disk
    from vmkeep.transfer.view import DiskView, DiskViews, open_views
    from vmkeep.transfer.writing import restore_disk

_HOMES = {
    "BlocksInOrder": "inorder",
    "DiskFile": "disk_file",
    "DiskView": "view",
    "DiskViews": "view",
    "RunningTransfer": "child_process",
    "StoredDisk": "storing",
    "back_up_disk": "storing",
    "change_access": "starting",
    "choose_driver": "drivers",
    "compare_disk": "compare",
    "find_drivers": "drivers",
    "open_views": "view",
    "probe_driver": "starting",
    "read_in_order": "inorder",
    "restore_disk": "writing",
    "start_copy": "starting",
    "start_write": "starting",
    "verify_disk": "verify",
}

__all__ = [
    "BlocksInOrder",
    "DiskFile",
    "DiskView",
    "DiskViews",
    "RunningTransfer",
    "StoredDisk",
    "back_up_disk",
    "change_access",
    "choose_driver",
    "compare_disk",
    "find_drivers",
    "mapcopy",
    "open_views",
    "probe_driver",
    "progress",
    "read_in_order",
    "restore_disk",
    "start_copy",
    "start_write",
    "verify_disk",
]

if not TYPE_CHECKING:  # or a name that is not at the door would be any to a type checker
    __getattr__ = loaded_on_use(__name__, _HOMES)
