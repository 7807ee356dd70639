"""Datastores, LUNs, and the files of disks on them.

A datastore is a folder on this machine with a name and a capacity; a LUN is a file in `DIR/luns`. `datastores` and
`luns` tell clients of them, `datastore_browser` searches files, `file_manager` deletes, moves and copies them.
`partitions` reads the partition table of a LUN.
`disk_files` carries out the file actions of a device plan: all of them, or none, because it deletes last and takes
back what it made. `file_locks` knows which files a running VM holds, and `policies` which storage policy a disk has.
"""

from vmlab.managed.storage import datastore_browser, datastores, file_manager, partitions
from vmlab.managed.storage.datastores import datastore_capability, datastore_summary, mount_info, vmfs_volume
from vmlab.managed.storage.disk_files import carry_out, delete_chain, disk_fault
from vmlab.managed.storage.file_locks import lock_holder
from vmlab.managed.storage.luns import add_lun, all_luns, host_luns, lun_file, target_luns
from vmlab.managed.storage.policies import (
    add_policy,
    assign_policies,
    assigned_policies,
    can_hold,
    check_holders,
    check_policies,
    storage_policies,
)

BEHAVIOURS = (
    datastore_browser,
    datastores,
    file_manager,
    partitions,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = [
    "BEHAVIOURS",
    "add_lun",
    "add_policy",
    "all_luns",
    "assign_policies",
    "assigned_policies",
    "can_hold",
    "carry_out",
    "check_holders",
    "check_policies",
    "datastore_capability",
    "datastore_summary",
    "delete_chain",
    "disk_fault",
    "host_luns",
    "lock_holder",
    "lun_file",
    "mount_info",
    "storage_policies",
    "target_luns",
    "vmfs_volume",
]
