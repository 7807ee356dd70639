"""RegisterVM_Task: makes a VM from the .vmx file on a datastore. Its snapshots are not registered."""

import re
import uuid
from typing import Any

from vmlab.api import fill, vim, vmodl
from vmlab.disks import DiskError
from vmlab.managed import ds_paths
from vmlab.managed.machine import Device, Disk, default_devices, disks, plan_changes
from vmlab.managed.provisioning.creation import check_no_vapp, enter_vm, new_config
from vmlab.managed.site import Call, Site, task_method
from vmlab.managed.snapshots import point_backing
from vmlab.managed.storage import all_luns, carry_out, lun_file
from vmlab.managed.vms import controller_types, nic_types, parse_vmx, read_uuid
from vmlab.managed.world import check_free_name, inventory_name

_HANDLED = re.compile(
    r"(scsi|sata|nvme|ide|ethernet)\d+[.:].*|\.encoding|config\.version|virtualHW\.version|displayName|guestOS|vmlab\.guestId|"
    r"annotation|memSize|numvcpus|cpuid\.coresPerSocket|uuid\.bios|vc\.uuid|firmware|nvram|ctkEnabled"
)


@task_method(vim.Folder, "RegisterVM_Task")
def register_vm_task(call: Call, path: str, name: str | None, asTemplate: bool, pool: Any, host: Any) -> Any:
    """Register a VM, or a template, from its .vmx file."""
    check_no_vapp(pool)
    return register_vm(call.site, call.this, path, name, pool, host, template=asTemplate)


def register_vm(
    site: Site,
    folder: Any,
    path: str,
    name: str | None,
    pool: Any,
    host: Any,
    *,
    template: bool,
    moref: str | None = None,
) -> Any:
    """Register a VM from its .vmx file, under a given id if the caller wishes.

    Raises the faults NotFound, AlreadyExists, DuplicateName and VmConfigFault.
    """
    file = ds_paths.local(site, path)
    if not file.is_file():
        raise vim.fault.NotFound(msg=f"File {path} was not found")
    with site.world.lock:
        for vm in site.world.all(vim.VirtualMachine):
            if site.world.get(vm, "config").files.vmPathName == path:
                raise vim.fault.AlreadyExists(name=path, msg=f"{path} is registered already")
    if pool is None and not template:
        raise vmodl.fault.InvalidArgument(invalidProperty="pool", msg="a virtual machine needs a resource pool")
    entries = parse_vmx(file.read_text(encoding="utf-8", errors="replace"))
    if "config.version" not in entries and "displayName" not in entries:
        raise vim.fault.InvalidVmConfig(property="config", msg=f"{path} is not a virtual machine configuration file")
    config = _config(site, path, entries, name)
    with site.world.lock:
        check_free_name(site.world, folder, config.name)
    return enter_vm(site, folder, config, pool, host, template=template, moref=moref)


def _config(site: Site, path: str, entries: dict[str, str], name: str | None) -> Any:
    spec = vim.vm.ConfigSpec(
        guestId=entries.get("vmlab.guestId", "otherGuest64"),
        version=f"vmx-{int(entries.get('virtualHW.version', '21')):02d}",
        memoryMB=int(entries.get("memSize", "128")),
        numCPUs=int(entries.get("numvcpus", "1")),
        numCoresPerSocket=int(entries.get("cpuid.coresPerSocket", "1")),
        uuid=read_uuid(entries["uuid.bios"]) if "uuid.bios" in entries else str(uuid.uuid4()),
        instanceUuid=read_uuid(entries["vc.uuid"]) if "vc.uuid" in entries else str(uuid.uuid4()),
        annotation=entries.get("annotation", "").replace("|0A", "\n").replace("|22", '"').replace("|7C", "|"),
        firmware=entries.get("firmware", "bios"),
        extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in entries.items() if not _HANDLED.fullmatch(k)],
    )
    config = new_config(site, spec, inventory_name(name or entries.get("displayName") or ds_paths.stem(path)), path)
    config.changeTrackingEnabled = entries.get("ctkEnabled", "").upper() == "TRUE"
    home = ds_paths.folder_of(path)
    plan = plan_changes(default_devices(), list(_changes(site, entries, home)), has_snapshots=False)
    carry_out(site, plan.actions, home, ds_paths.stem(path))
    config.hardware.device = plan.devices
    for disk in disks(config):
        point_backing(site, disk, disk.backing.fileName)
    return fill(config)


def _changes(site: Site, entries: dict[str, str], home: str) -> list[Any]:
    found: list[Any] = []
    keys: dict[str, int] = {"ide0": 200, "ide1": 201}
    for name, value in entries.items():
        match = re.fullmatch(r"(scsi|sata|nvme)(\d+)\.present", name)
        if match and value.upper() == "TRUE":
            keys[match[1] + match[2]] = -1 - len(keys)
            found.append(_added(_controller(match[1], int(match[2]), entries, keys[match[1] + match[2]])))
    for name, value in entries.items():
        match = re.fullmatch(r"((?:scsi|sata|nvme|ide)\d+):(\d+)\.present", name)
        if match and value.upper() == "TRUE" and match[1] in keys:
            found.append(_added(_unit(site, match[1], int(match[2]), entries, keys[match[1]], home, len(found))))
        match = re.fullmatch(r"ethernet(\d+)\.present", name)
        if match and value.upper() == "TRUE":
            found.append(_added(_card(int(match[1]), entries)))
    return found


def _added(device: Any) -> Any:
    return Device.VirtualDeviceSpec(operation="add", device=device)


def _controller(family: str, bus: int, entries: dict[str, str], key: int) -> Any:
    if family == "sata":
        return Device.VirtualAHCIController(key=key, busNumber=bus)
    if family == "nvme":
        return Device.VirtualNVMEController(key=key, busNumber=bus)
    kind = controller_types().get(entries.get(f"scsi{bus}.virtualDev", "lsilogic"), Device.VirtualLsiLogicController)
    shared = {"virtual": "virtualSharing", "physical": "physicalSharing"}.get(
        entries.get(f"scsi{bus}.sharedBus", ""), "noSharing"
    )
    return kind(key=key, busNumber=bus, sharedBus=shared)


def _unit(site: Site, node: str, unit: int, entries: dict[str, str], controller: int, home: str, number: int) -> Any:
    value = entries.get(f"{node}:{unit}.fileName", "")
    if "cdrom" in entries.get(f"{node}:{unit}.deviceType", ""):
        backing = Device.VirtualCdrom.RemotePassthroughBackingInfo(deviceName="", exclusive=False)
        return Device.VirtualCdrom(key=-1000 - number, controllerKey=controller, unitNumber=unit, backing=backing)
    path = value if value.startswith("[") else f"{home}/{value}"
    mode = entries.get(f"{node}:{unit}.mode", "persistent").replace("independent-", "independent_")
    backing = _backing(site, path, mode)
    return Disk(key=-1000 - number, controllerKey=controller, unitNumber=unit, capacityInKB=0, backing=backing)


def _backing(site: Site, path: str, mode: str) -> Any:
    """Return the backing that a disk's descriptor describes: flat, or a mapping of the LUN that its extent leads to."""
    try:
        info = site.store.info(path)
        base = site.store.info(site.store.chain(path)[-1])
    except DiskError as error:
        raise vim.fault.FileNotFound(file=path, msg=f"File {path} was not found") from error
    if "RawDeviceMap" not in base.create_type:
        return Disk.FlatVer2BackingInfo(fileName=info.ds_path, diskMode=mode, thinProvisioned=info.thin)
    files = {str(lun_file(site, lun).resolve()): lun for lun in all_luns(site)}
    lun = next((lun for name, lun in files.items() if name in {_resolved(site, file) for file in base.files}), None)
    physical = "Passthrough" in base.create_type
    return Disk.RawDiskMappingVer1BackingInfo(
        fileName=info.ds_path,
        diskMode=mode,
        lunUuid=lun.uuid if lun else None,
        deviceName=lun.canonical if lun else None,
        compatibilityMode="physicalMode" if physical else "virtualMode",
    )


def _resolved(site: Site, name: str) -> str:
    from pathlib import Path

    return str((site.store.path(name) if name.startswith("[") else Path(name)).resolve())


def _card(number: int, entries: dict[str, str]) -> Any:
    node = f"ethernet{number}"
    kind = nic_types().get(entries.get(f"{node}.virtualDev", "vmxnet3"), Device.VirtualVmxnet3)
    backing = Device.VirtualEthernetCard.NetworkBackingInfo(deviceName=entries.get(f"{node}.networkName", ""))
    if group := entries.get(f"{node}.dvs.portgroupId"):
        port = vim.dvs.PortConnection(portgroupKey=group, switchUuid=entries.get(f"{node}.dvs.switchId"))
        backing = Device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
    return kind(
        key=-2000 - number, backing=backing, macAddress=entries.get(f"{node}.address") or None, addressType="manual"
    )
