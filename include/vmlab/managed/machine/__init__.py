"""The parts of a virtual machine as plain values: devices, disks, guest, fields. Pure functions, no files.

`devices` knows vSphere's numbers: the default devices of a VM, the keys, the places on each controller.
`device_changes` applies the device specs of a ConfigSpec to a list of devices. It refuses what vSphere refuses, and
returns the new list with the actions on files that follow from it; `vmlab.managed.storage` carries these out.
`config_fields` applies the plain fields of a spec, `guests` tells what VMware Tools would report, and `disk_links`
lists the disks of a configuration with the links below each.

Knows no site and no world: every function works on the objects it is given.
"""

from vmlab.managed.machine.config_fields import apply_simple_fields
from vmlab.managed.machine.device_changes import DevicePlan, DiskAction, capacity_of, invalid_device, plan_changes
from vmlab.managed.machine.devices import (
    Device,
    Disk,
    default_devices,
    in_snapshots,
    is_multi_writer,
    is_rdm,
    link_children,
    shareable,
    shares_bus,
)
from vmlab.managed.machine.disk_links import backing_chain, disks
from vmlab.managed.machine.guests import guest_descriptors, guest_names, new_guest, set_running

__all__ = [
    "Device",
    "DevicePlan",
    "Disk",
    "DiskAction",
    "apply_simple_fields",
    "backing_chain",
    "capacity_of",
    "default_devices",
    "disks",
    "guest_descriptors",
    "guest_names",
    "in_snapshots",
    "invalid_device",
    "is_multi_writer",
    "is_rdm",
    "link_children",
    "new_guest",
    "plan_changes",
    "set_running",
    "shareable",
    "shares_bus",
]
