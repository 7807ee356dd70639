"""The methods that take, remove, revert to and consolidate snapshots.

The state is the VM's `snapshot` tree and one `VirtualMachineSnapshot` object per node, whose `config` names the frozen
links. A disk that snapshots leave out (independent, physical raw device mapping) stays as it is and is not listed.
"""

import copy
from datetime import UTC, datetime
from typing import Any

from vmlab.api import fill, moid, vim, vmodl
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.machine import Disk, disks, in_snapshots, is_multi_writer, is_rdm, link_children, shares_bus
from vmlab.managed.site import Call, Site, method, task_method
from vmlab.managed.snapshots.disk_chains import next_link_name, point_backing
from vmlab.managed.snapshots.snapshot_disks import collapse, refuse_open, set_consolidation
from vmlab.managed.snapshots.snapshot_tree import find_node, parent_node, tree_depth, walk_tree
from vmlab.managed.storage import disk_fault
from vmlab.managed.vms import apply_tracking, set_power, tools_running, write_vm_files

VM, Snapshot = vim.VirtualMachine, vim.vm.Snapshot
MAX_DEPTH = 32


@task_method(VM, "CreateSnapshot_Task")
def create_snapshot(call: Call, name: str, description: str | None, memory: bool, quiesce: bool) -> Any:
    """Freeze every disk that can be frozen and go on in deltas."""
    return take_snapshot(call.site, call.this, name, description or "", memory=memory, quiesce=quiesce)


@task_method(VM, "CreateSnapshotEx_Task")
def create_snapshot_ex(call: Call, name: str, description: str | None, memory: bool, quiesceSpec: Any) -> Any:
    """The newer form; any quiesce spec means quiesce."""
    quiesce = quiesceSpec is not None
    return take_snapshot(call.site, call.this, name, description or "", memory=memory, quiesce=quiesce)


def take_snapshot(site: Site, vm: Any, name: str, description: str, *, memory: bool, quiesce: bool) -> Any:
    """Take a snapshot; returns its reference. Raises SnapshotFaults and leaves nothing behind then."""
    world = site.world
    running = world.get(vm, "runtime").powerState == "poweredOn"
    _refuse_impossible(site, vm, name, memory=memory and running)
    apply_tracking(site, vm)
    config = copy.deepcopy(world.get(vm, "config"))
    frozen = copy.deepcopy(config)
    frozen.hardware.device = [d for d in frozen.hardware.device if not isinstance(d, Disk) or in_snapshots(d)]
    made: list[str] = []
    try:
        for disk, old in zip([d for d in disks(config) if in_snapshots(d)], disks(frozen), strict=True):
            path = old.backing.fileName
            info = site.store.info(path)
            child = next_link_name(site, path)
            site.store.create_child(path, child)
            made.append(child)
            point_backing(site, old, path, change_id=info.change_id if info.tracked else None)
            point_backing(site, disk, child)
    except DiskError as error:
        for child in made:
            site.store.delete(child)
        raise disk_fault(error, config.files.vmPathName) from error
    site.guests.of(moid(vm)).note("snapshot", quiesce=quiesce)
    quiesced = quiesce and not memory and tools_running(site, vm)
    return _enter(site, vm, name, description, config, frozen, memory=memory and running, quiesced=quiesced)


def _refuse_impossible(site: Site, vm: Any, name: str, *, memory: bool) -> None:
    config = site.world.get(vm, "config")
    if not name:
        raise vim.fault.InvalidName(name=name, msg="A snapshot needs a name.")
    if config.template:
        raise vmodl.fault.NotSupported(msg="A template cannot have snapshots.")
    if config.flags.snapshotDisabled:
        raise vim.fault.SnapshotDisabled(msg="Snapshots are disabled for this virtual machine.")
    if tree_depth(site.world.get(vm, "snapshot")) >= MAX_DEPTH:
        raise vim.fault.TooManySnapshotLevels(msg=f"A virtual machine has at most {MAX_DEPTH} levels of snapshots.")
    if memory and any(
        str(disk.backing.diskMode).startswith("independent") and not is_rdm(disk.backing) for disk in disks(config)
    ):
        message = "Cannot take a memory snapshot, since the virtual machine is configured with independent disks."
        raise vim.fault.MemorySnapshotOnIndependentDisk(msg=message)
    if memory and any(is_rdm(disk.backing, "physicalMode") for disk in disks(config)):
        raise _incompatible("a raw device mapping in physical compatibility mode")
    _refuse_shared(config)


def _refuse_shared(config: Any) -> None:
    """Raise the fault of a VM that shares a bus, or a disk that would be in the snapshot."""
    for device in config.hardware.device:
        if shares_bus(device):
            message = (
                "Virtual machine is configured to use a device that prevents the operation: "
                f"Device '{device.deviceInfo.label}' is a SCSI controller engaged in bus-sharing."
            )
            raise vim.fault.SharedBusControllerNotSupported(device=device.deviceInfo.label, msg=message)
    for disk in disks(config):
        if is_multi_writer(disk) and in_snapshots(disk):
            raise _incompatible(f"{disk.deviceInfo.label}, a disk that several virtual machines may write")


def _incompatible(what: str) -> Any:
    message = f"The virtual machine is configured with {what}; a snapshot cannot be taken."
    cause = vmodl.fault.NotSupported(msg=message)
    return vim.fault.SnapshotIncompatibleDeviceInVm(fault=cause, msg=message)


def _enter(
    site: Site, vm: Any, name: str, description: str, config: Any, frozen: Any, *, memory: bool, quiesced: bool
) -> Any:
    world = site.world
    with world.transaction():
        ref = world.new_ref(Snapshot, "snapshot" if site.product.is_vcenter else f"{moid(vm)}-snapshot")
        info = copy.deepcopy(world.get(vm, "snapshot")) or vim.vm.SnapshotInfo()
        node = fill(
            vim.vm.SnapshotTree(
                snapshot=ref,
                vm=vm,
                name=name,
                description=description,
                id=world.next_number(),
                createTime=datetime.now(UTC),
                state="poweredOn" if memory else "poweredOff",
                quiesced=quiesced,
                replaySupported=False,
            )
        )
        parent = find_node(info, info.currentSnapshot)
        (parent.childSnapshotList if parent is not None else info.rootSnapshotList).append(node)
        info.currentSnapshot = ref
        world.add(ref, vm=vm, config=frozen)
        world.update(vm, config=config, snapshot=info)
        _snapshot_file(site, config, node.id).write_bytes(b"\xd2\xbe\xd2\xbe" + bytes(28668))
    write_vm_files(site, config)
    return ref


@task_method(Snapshot, "RemoveSnapshot_Task")
def remove_snapshot(call: Call, removeChildren: bool, consolidate: bool | None) -> None:
    """Remove a snapshot (with its children if asked); its deltas are merged unless told not to."""
    site, vm = call.site, call.world.get(call.this, "vm")
    info = copy.deepcopy(call.world.get(vm, "snapshot"))
    node = find_node(info, call.this)
    doomed = [n.snapshot for n in walk_tree([node])] if removeChildren else [call.this]
    _forget(site, vm, info, doomed)
    if consolidate is False or site.faults.take_effect("consolidation_needed"):
        set_consolidation(site, vm)
    else:
        collapse(site, vm)


@task_method(VM, "RemoveAllSnapshots_Task")
def remove_all_snapshots(call: Call, consolidate: bool | None, **_: Any) -> None:
    """Remove every snapshot of a VM."""
    info = copy.deepcopy(call.world.get(call.this, "snapshot"))
    if info is None:
        return
    _forget(call.site, call.this, info, [node.snapshot for node in walk_tree(info.rootSnapshotList)])
    if consolidate is False or call.site.faults.take_effect("consolidation_needed"):
        set_consolidation(call.site, call.this)
    else:
        collapse(call.site, call.this)


@task_method(VM, "ConsolidateVMDisks_Task")
def consolidate_disks(call: Call) -> None:
    """Merge away every link that no snapshot needs."""
    collapse(call.site, call.this)


@task_method(Snapshot, "RevertToSnapshot_Task")
def revert_to_snapshot(call: Call, host: Any, suppressPowerOn: bool | None) -> None:
    """Go back to a snapshot. Everything written since is lost."""
    revert(call.site, call.world.get(call.this, "vm"), call.this, power_on=not suppressPowerOn)


@task_method(VM, "RevertToCurrentSnapshot_Task")
def revert_to_current(call: Call, host: Any, suppressPowerOn: bool | None) -> None:
    """Go back to the snapshot the VM runs on."""
    info = call.world.get(call.this, "snapshot")
    if info is None or info.currentSnapshot is None:
        raise vim.fault.NotFound(msg="The virtual machine has no current snapshot.")
    revert(call.site, call.this, info.currentSnapshot, power_on=not suppressPowerOn)


@method(Snapshot, "RenameSnapshot")
def rename_snapshot(call: Call, name: str | None, description: str | None) -> None:
    """Change name and description."""
    vm = call.world.get(call.this, "vm")
    info = copy.deepcopy(call.world.get(vm, "snapshot"))
    node = find_node(info, call.this)
    node.name = name if name is not None else node.name
    node.description = description if description is not None else node.description
    call.world.update(vm, snapshot=info)


def revert(site: Site, vm: Any, snapshot: Any, *, power_on: bool) -> None:
    """Put configuration and disks back to a snapshot. Disks outside snapshots stay as they are now."""
    world = site.world
    now, info = world.get(vm, "config"), copy.deepcopy(world.get(vm, "snapshot"))
    node = find_node(info, snapshot)
    config = copy.deepcopy(world.get(snapshot, "config"))
    if world.get(vm, "runtime").powerState != "poweredOff":
        set_power(site, vm, "poweredOff")
    refuse_open(site, {disk.backing.fileName for disk in disks(now) if in_snapshots(disk)})
    for disk in disks(config):
        frozen = disk.backing.fileName
        child = next_link_name(site, frozen)
        site.store.create_child(frozen, child)
        point_backing(site, disk, child)
    keys = {device.key for device in config.hardware.device}
    config.hardware.device += [copy.deepcopy(d) for d in disks(now) if not in_snapshots(d) and d.key not in keys]
    link_children(config.hardware.device)
    config.files, config.changeTrackingEnabled = now.files, now.changeTrackingEnabled
    info.currentSnapshot = snapshot
    world.update(vm, config=config, snapshot=info)
    collapse(site, vm)
    if node.state == "poweredOn" and power_on:
        set_power(site, vm, "poweredOn")


def _forget(site: Site, vm: Any, info: Any, doomed: list[Any]) -> None:
    """Take snapshots out of the tree. Their children move up, and the nearest parent that is left becomes current."""
    world = site.world
    config = world.get(vm, "config")
    for ref in doomed:
        node = find_node(info, ref)
        parent = parent_node(info, ref)
        siblings = parent.childSnapshotList if parent is not None else info.rootSnapshotList
        at = siblings.index(node)
        siblings[at : at + 1] = list(node.childSnapshotList)
        if info.currentSnapshot == ref:
            info.currentSnapshot = parent.snapshot if parent is not None else None
        _snapshot_file(site, config, node.id).unlink(missing_ok=True)
    with world.transaction():
        for ref in doomed:
            world.remove(ref)
        world.update(vm, snapshot=info if info.rootSnapshotList else None)


def _snapshot_file(site: Site, config: Any, number: int) -> Any:
    vmx = ds_paths.local(site, config.files.vmPathName)
    return vmx.with_name(f"{vmx.stem}-Snapshot{number}.vmsn")
