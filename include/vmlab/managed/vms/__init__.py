"""A VM while it exists: its properties, power, files, change tracking, guest operations.

`description` works out what clients read beyond the stored configuration, `summary` what lists show of a VM, and
`file_list` its files. `full_config` adds what vSphere adds to every VM, `vmx` writes a VM's files and reads them back.
`power` switches a VM on and off and suspends it; each such change is a stun, at which `tracking_setting` makes change
tracking what the configuration says. `changed_areas` answers which areas of a disk changed since a changeId.
`disabled_methods` remembers who keeps RelocateVM_Task off a VM. `guest_operations` says who may ask a guest for
something, `guest_processes` runs scripted programs in it, and `guest_files` passes its files.
"""

from vmlab.managed.vms import (
    changed_areas,
    description,
    disabled_methods,
    guest_files,
    guest_operations,
    guest_processes,
    power,
    screenshots,
    summary,
)
from vmlab.managed.vms.disabled_methods import (
    RELOCATE,
    block_relocation,
    forget_blockers,
    hide_disabled,
    relocation_blockers,
    require_enabled,
    unblock_relocation,
)
from vmlab.managed.vms.full_config import complete, know_networks
from vmlab.managed.vms.power import invalid_power_state, power_on, set_power
from vmlab.managed.vms.summary import tools_running
from vmlab.managed.vms.tracking_setting import apply_tracking
from vmlab.managed.vms.vmx import controller_types, nic_types, parse_vmx, read_uuid, write_nvram, write_vm_files

BEHAVIOURS = (
    changed_areas,
    description,
    disabled_methods,
    guest_files,
    guest_operations,
    guest_processes,
    power,
    screenshots,
    summary,
)
"""Modules that answer methods or properties: importing them registers their functions."""

__all__ = [
    "BEHAVIOURS",
    "RELOCATE",
    "apply_tracking",
    "block_relocation",
    "complete",
    "controller_types",
    "forget_blockers",
    "hide_disabled",
    "invalid_power_state",
    "know_networks",
    "nic_types",
    "parse_vmx",
    "power_on",
    "read_uuid",
    "relocation_blockers",
    "require_enabled",
    "set_power",
    "tools_running",
    "unblock_relocation",
    "write_nvram",
    "write_vm_files",
]
