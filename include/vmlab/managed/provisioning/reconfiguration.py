"""ReconfigVM_Task: fields, devices, change tracking, name."""

import copy
from datetime import UTC, datetime
from typing import Any

from vmlab.api import fill, vim, vmodl
from vmlab.managed import ds_paths
from vmlab.managed.hosts import check_card
from vmlab.managed.machine import Device, Disk, apply_simple_fields, plan_changes
from vmlab.managed.provisioning.spec_rights import check_reconfigure
from vmlab.managed.provisioning.spec_rules import check_config, check_encryption, check_spec
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.storage import assign_policies, carry_out, check_policies
from vmlab.managed.vms import apply_tracking, invalid_power_state, know_networks, write_vm_files
from vmlab.managed.world import above, check_free_name, inventory_name

VM = vim.VirtualMachine


@task_method(VM, "ReconfigVM_Task", check=check_reconfigure)
def reconfigure_task(call: Call, spec: Any) -> None:
    """Change a VM's configuration."""
    reconfigure(call.site, call.this, spec)


def reconfigure(site: Site, vm: Any, spec: Any) -> None:
    """Apply a ConfigSpec to a VM: wholly, or not at all with a fault."""
    world = site.world
    current = world.get(vm, "config")
    if current.template:
        raise vmodl.fault.NotSupported(msg="A template cannot be reconfigured.")
    if world.get(vm, "runtime").powerState == "suspended":
        raise invalid_power_state("suspended", "poweredOff")
    check_spec(site, spec)
    if spec.crypto is not None:
        raise vmodl.fault.NotSupported(msg="vmlab encrypts a virtual machine when it is made, not later")
    if spec.changeVersion and spec.changeVersion != current.changeVersion:
        raise vim.fault.ConcurrentAccess(msg="The virtual machine was changed by somebody else meanwhile.")
    config = copy.deepcopy(current)
    _refuse_hot(site, vm, config, spec)
    if spec.name and inventory_name(spec.name) != config.name:
        config.name = _new_name(site, vm, spec.name)
    apply_simple_fields(config, spec)
    if spec.changeTrackingEnabled is not None:
        config.changeTrackingEnabled = spec.changeTrackingEnabled
    check_policies(site, spec)
    for index, change in enumerate(spec.deviceChange):
        if isinstance(change.device, Device.VirtualEthernetCard) and _names_network(change):
            check_card(site, world.get(vm, "runtime").host, change.device, index)
    plan = plan_changes(
        config.hardware.device, list(spec.deviceChange), has_snapshots=world.get(vm, "snapshot") is not None
    )
    home = ds_paths.folder_of(config.files.vmPathName)
    carry_out(site, plan.actions, home, ds_paths.stem(config.files.vmPathName))
    config.hardware.device = plan.devices
    know_networks(site, config)
    check_encryption(site, config, plan)
    check_config(config)
    config.modified = datetime.now(UTC)
    config.changeVersion = config.modified.isoformat()
    fill(config)
    world.update(vm, config=config, name=config.name)
    assign_policies(site, vm, spec, plan.keys)
    if world.get(vm, "runtime").powerState == "poweredOff":
        apply_tracking(site, vm)
    write_vm_files(site, config)


def _names_network(change: Any) -> bool:
    return change.operation == "add" or (change.operation == "edit" and change.device.backing is not None)


def _new_name(site: Site, vm: Any, name: str) -> str:
    with site.world.lock:
        check_free_name(site.world, above(site.world, vm), inventory_name(name), besides=vm)
    return inventory_name(name)


def _refuse_hot(site: Site, vm: Any, config: Any, spec: Any) -> None:
    """Raise InvalidPowerState for a change that a running VM cannot make."""
    if site.world.get(vm, "runtime").powerState == "poweredOff":
        return
    hardware = config.hardware
    cold = [
        spec.numCPUs is not None and spec.numCPUs != hardware.numCPU and not config.cpuHotAddEnabled,
        spec.memoryMB is not None and spec.memoryMB != hardware.memoryMB and not config.memoryHotAddEnabled,
        spec.firmware is not None and spec.firmware != config.firmware,
        any(_needs_power_off(change, config, spec) for change in spec.deviceChange),
        any(change.operation != "edit" for change in spec.deviceChange) and not _hot_plug(config),
    ]
    if any(cold):
        raise invalid_power_state("poweredOn", "poweredOff")


def _hot_plug(config: Any) -> bool:
    settings = {option.key: str(option.value) for option in config.extraConfig}
    return settings.get("devices.hotplug", "").lower() not in ("false", "0", "no")


def _needs_power_off(change: Any, config: Any, spec: Any) -> bool:
    """Return whether a change adds or removes a disk that a running VM cannot: one on IDE, or a new one off SCSI."""
    if not isinstance(change.device, Disk) or change.operation == "edit":
        return False
    there = [*config.hardware.device, *(other.device for other in spec.deviceChange if other.operation == "add")]
    controller = next((device for device in there if device.key == change.device.controllerKey), None)
    if isinstance(controller, Device.VirtualIDEController):
        return True
    return (
        change.operation == "add"
        and controller is not None
        and not isinstance(controller, Device.VirtualSCSIController)
    )
