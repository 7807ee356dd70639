"""Knows the machine on which disks are copied: its facts, on which SAN and HotAdd depend, and its array hook.

``machine`` reads the facts: the machine's UUID, its disks, and whether its own LVM would touch the disks of guests.
``lvmconfig`` parses LVM's configuration, and ``lvmfilter`` judges it. These two read no file, so that every
configuration can be tried. ``arrayhook`` runs the command that this machine's configuration names round each copy.
``lundriver`` is the disk driver for LUNs that this machine sees (``lundevice`` finds one, ``lunreader`` reads it).
"""

from vmkeep.proxy.arrayhook import require_hook, run_hook
from vmkeep.proxy.lundevice import require_lun
from vmkeep.proxy.lvmconfig import LvmConfigError
from vmkeep.proxy.lvmfilter import LvmSettings, why_lvm_touches
from vmkeep.proxy.machine import ProxyMachine, has_lun, read_machine, read_uuids

__all__ = [
    "LvmConfigError", "LvmSettings", "ProxyMachine", "has_lun", "read_machine", "read_uuids", "require_hook",
    "require_lun", "run_hook", "why_lvm_touches",
]  # fmt: skip
