"""Tells facts of the machine on which disks are copied, because the transports SAN and HotAdd depend on it.

``machine`` reads the facts: the machine's UUID, its disks, and whether its own LVM would touch the disks of guests.
``lvmconfig`` parses LVM's configuration, and ``lvmfilter`` judges it. These two read no file, so that every
configuration can be tried.
"""

from vmkeep.proxy.lvmconfig import LvmConfigError
from vmkeep.proxy.lvmfilter import LvmSettings, why_lvm_touches
from vmkeep.proxy.machine import ProxyMachine, has_lun, read_machine

__all__ = ["LvmConfigError", "LvmSettings", "ProxyMachine", "has_lun", "read_machine", "why_lvm_touches"]
