"""Powers a VM on and off, resets and suspends it. Each change is a stun, which switches change tracking on or off."""

import copy
from datetime import UTC, datetime
from typing import Any

from vmlab.api import vim
from vmlab.disks import DiskError
from vmlab.managed.hosts import MEMORY, THREADS, check_host_version
from vmlab.managed.machine import disks, set_running, shareable
from vmlab.managed.site import Call, Site, method, task_method
from vmlab.managed.vms.full_config import after_start
from vmlab.managed.vms.summary import tools_running
from vmlab.managed.vms.tracking_setting import apply_tracking
from vmlab.managed.vms.vmx import check_nvram, write_nvram

VM = vim.VirtualMachine


@task_method(VM, "PowerOnVM_Task")
def power_on_task(call: Call, host: Any) -> None:
    """Power on a VM, or resume a suspended one."""
    power_on(call.site, call.this)


@task_method(VM, "PowerOffVM_Task")
def power_off_task(call: Call) -> None:
    """Power off, hard."""
    require_power(call.site, call.this, "poweredOn", wanted="poweredOff")
    set_power(call.site, call.this, "poweredOff")


@task_method(VM, "ResetVM_Task")
def reset_task(call: Call) -> None:
    """Reset a running VM."""
    require_power(call.site, call.this, "poweredOn", wanted="poweredOn")
    set_power(call.site, call.this, "poweredOn")


@task_method(VM, "SuspendVM_Task")
def suspend_task(call: Call) -> None:
    """Suspend a running VM."""
    require_power(call.site, call.this, "poweredOn", wanted="suspended")
    set_power(call.site, call.this, "suspended")


@method(VM, "ShutdownGuest", locked=False)
def shutdown_guest(call: Call) -> None:
    """Ask the guest to shut down. It obeys at once."""
    _require_tools(call)
    set_power(call.site, call.this, "poweredOff")


@method(VM, "StandbyGuest", locked=False)
def standby_guest(call: Call) -> None:
    """Ask the guest to stand by, which suspends the VM."""
    _require_tools(call)
    set_power(call.site, call.this, "suspended")


@method(VM, "RebootGuest", locked=False)
def reboot_guest(call: Call) -> None:
    """Ask the guest to reboot."""
    _require_tools(call)
    set_power(call.site, call.this, "poweredOn")


def power_on(site: Site, ref: Any) -> None:
    """Power on a VM that is off or suspended. Raises InvalidPowerState, FileLocked, disk and template faults."""
    state = site.world.get(ref, "runtime").powerState
    if state == "poweredOn":
        raise invalid_power_state(state, "poweredOff")
    config = site.world.get(ref, "config")
    if config.template:
        raise vim.fault.InvalidState(msg="A template cannot be powered on.")
    host = site.world.get(ref, "runtime").host
    check_host_version(site, host, config.version)
    _refuse_too_big(host, config.hardware)
    check_nvram(site, config)
    _refuse_locked(site, ref, config)
    _refuse_changed_below(site, config)
    write_nvram(site, config)
    set_power(site, ref, "poweredOn")


def set_power(site: Site, ref: Any, state: str) -> None:
    """Change the power state with everything that follows from it."""
    world = site.world
    with site.tasks.entity_lock(ref):
        apply_tracking(site, ref)
        with world.transaction():
            runtime, guest = copy.deepcopy(world.get(ref, "runtime")), copy.deepcopy(world.get(ref, "guest"))
            runtime.powerState = state
            runtime.bootTime = datetime.now(UTC) if state == "poweredOn" else None
            runtime.suspendTime = datetime.now(UTC) if state == "suspended" else None
            set_running(guest, running=state == "poweredOn")
            world.update(ref, runtime=runtime, guest=guest)
            if state == "poweredOn":
                world.update(ref, config=after_start(world.get(ref, "config"), runtime.host))


def require_power(site: Site, ref: Any, state: str, *, wanted: str) -> None:
    """Raise the InvalidPowerState fault unless a VM is in the given state."""
    found = site.world.get(ref, "runtime").powerState
    if found != state:
        raise invalid_power_state(found, state)


def invalid_power_state(existing: str, requested: str) -> Any:
    """The fault for an operation in the wrong power state."""
    message = f"The attempted operation cannot be performed in the current state ({existing})."
    return vim.fault.InvalidPowerState(existingState=existing, requestedState=requested, msg=message)


def _refuse_too_big(host: Any, wanted: Any) -> None:
    """Raise the fault for a VM with more processors or more memory than its host has."""
    if wanted.numCPU > THREADS:
        message = f"The host has {THREADS} logical processors, the virtual machine needs {wanted.numCPU}."
        raise vim.fault.NotEnoughLogicalCpus(host=host, numCpuDest=THREADS, numCpuVm=wanted.numCPU, msg=message)
    if wanted.memoryMB << 20 > MEMORY:
        message = f"The host has {MEMORY >> 20} MB of memory, the virtual machine needs {wanted.memoryMB}."
        raise vim.fault.InsufficientHostMemoryCapacityFault(
            host=host, unreserved=MEMORY, requested=wanted.memoryMB << 20, msg=message
        )


def _refuse_locked(site: Site, ref: Any, config: Any) -> None:
    with site.world.lock:
        mine = {disk.backing.fileName for disk in disks(config)}
        for path in sorted(mine & set(site.open_disks(writing=True))):
            raise vim.fault.FileLocked(file=path, msg=f"Unable to access file {path} since it is locked")
        for other in site.world.all(VM):
            if other == ref or site.world.get(other, "runtime").powerState != "poweredOn":
                continue
            theirs = site.world.get(other, "config")
            both = shareable(config.hardware.device) & shareable(theirs.hardware.device)
            if shared := (mine & {disk.backing.fileName for disk in disks(theirs)}) - both:
                path = min(shared)
                raise vim.fault.FileLocked(file=path, msg=f"Unable to access file {path} since it is locked")


def _refuse_changed_below(site: Site, config: Any) -> None:
    """Raise the fault for a disk whose parent was written to after the disk was made."""
    for disk in disks(config):
        try:
            site.store.check_content(disk.backing.fileName)
        except DiskError as error:
            raise vim.fault.GenericVmConfigFault(reason="disk", msg=str(error)) from error


def _require_tools(call: Call) -> None:
    require_power(call.site, call.this, "poweredOn", wanted="poweredOff")
    if not tools_running(call.site, call.this):
        raise vim.fault.ToolsUnavailable(msg="VMware Tools are not running in the guest.")
