"""Writes a VM's .vmx file from its configuration, reads it back for RegisterVM_Task, and writes the .nvram beside it.

The keys are those of VMware's own files (`scsi0:0.fileName = "x.vmdk"`). A value without a key here is not kept.
"""

import hashlib
import re
from typing import Any

from vmlab.api import vim
from vmlab.managed import ds_paths
from vmlab.managed.machine import Device, Disk, is_rdm
from vmlab.managed.site import Site

NVRAM_BYTES = 8684
_SEALED = b"VMLABENC"
_SEAL_BYTES = len(_SEALED) + 32
SCSI_TYPES: tuple[tuple[Any, str], ...] = (
    (Device.ParaVirtualSCSIController, "pvscsi"),
    (Device.VirtualLsiLogicSASController, "lsisas1068"),
    (Device.VirtualBusLogicController, "buslogic"),
    (Device.VirtualLsiLogicController, "lsilogic"),
)
NIC_TYPES: tuple[tuple[Any, str], ...] = (
    (Device.VirtualVmxnet3, "vmxnet3"),
    (Device.VirtualVmxnet2, "vmxnet2"),
    (Device.VirtualE1000e, "e1000e"),
    (Device.VirtualE1000, "e1000"),
    (Device.VirtualPCNet32, "vlance"),
)


def write_vm_files(site: Site, config: Any) -> None:
    """Write the .vmx, atomically."""
    path = ds_paths.local(site, config.files.vmPathName)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(render_vmx(config), encoding="utf-8")
    temporary.replace(path)


def write_nvram(site: Site, config: Any) -> None:
    """Write the NVRAM of a VM that has none."""
    nvram = ds_paths.local(site, config.files.vmPathName).with_suffix(".nvram")
    if not nvram.exists():
        seed = hashlib.sha256(str(config.uuid).encode()).digest()
        head = _seal_of(config) or b"MRVN"
        nvram.write_bytes(head + (seed * (NVRAM_BYTES // 32 + 1))[: NVRAM_BYTES - len(head)])


def check_nvram(site: Site, config: Any) -> None:
    """Raise the GenericVmConfigFault if a VM cannot read its NVRAM, because another key encrypted it or none did.

    A real NVRAM of an encrypted VM is encrypted as a whole. Here it only begins with a digest of the VM's bundle.
    """
    path = ds_paths.local(site, config.files.vmPathName).with_suffix(".nvram")
    head = path.read_bytes()[:_SEAL_BYTES] if path.exists() else b""
    seal = _seal_of(config)
    if head and (head != seal if seal else head.startswith(_SEALED)):
        raise vim.fault.GenericVmConfigFault(reason="NVRAM", msg=f"Cannot open {path.name}: it cannot be decrypted.")


def _seal_of(config: Any) -> bytes | None:
    bundle = next((str(item.value) for item in config.extraConfig if item.key.lower() == "encryption.bundle"), None)
    return _SEALED + hashlib.sha256(bundle.encode()).digest() if bundle else None


def render_vmx(config: Any) -> str:
    """The text of a .vmx file."""
    lines = {
        ".encoding": "UTF-8",
        "config.version": "8",
        "virtualHW.version": str(config.version).removeprefix("vmx-"),
        "displayName": config.name,
        "guestOS": _guest_os(config.guestId),
        "vmlab.guestId": config.guestId,
        "annotation": (config.annotation or "").replace("|", "|7C").replace('"', "|22").replace("\n", "|0A"),
        "memSize": str(config.hardware.memoryMB),
        "numvcpus": str(config.hardware.numCPU),
        "cpuid.coresPerSocket": str(config.hardware.numCoresPerSocket or 1),
        "uuid.bios": _vmx_uuid(config.uuid),
        "vc.uuid": _vmx_uuid(config.instanceUuid),
        "firmware": config.firmware or "bios",
        "nvram": ds_paths.stem(config.files.vmPathName) + ".nvram",
        "ctkEnabled": "TRUE" if config.changeTrackingEnabled else "FALSE",
    }
    devices = {device.key: device for device in config.hardware.device}
    for device in config.hardware.device:
        lines.update(_device_lines(device, devices, ds_paths.folder_of(config.files.vmPathName)))
    lines.update({option.key: str(option.value) for option in config.extraConfig})
    return "".join(f'{key} = "{value}"\n' for key, value in lines.items())


def parse_vmx(text: str) -> dict[str, str]:
    """Return the keys of a .vmx file. Other lines are skipped."""
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r'\s*([^#=\s][^=]*?)\s*=\s*"(.*)"\s*', line)
        if match:
            found[match[1]] = match[2]
    return found


def node_of(device: Any, controllers: dict[int, Any]) -> str:
    """The name of a device in a .vmx file (`scsi0:1`), or the empty string."""
    controller = controllers.get(device.controllerKey)
    for kind, prefix in (
        (Device.VirtualSCSIController, "scsi"),
        (Device.VirtualSATAController, "sata"),
        (Device.VirtualNVMEController, "nvme"),
        (Device.VirtualIDEController, "ide"),
    ):
        if isinstance(controller, kind):
            return f"{prefix}{controller.busNumber}:{device.unitNumber}"
    return ""


def _device_lines(device: Any, devices: dict[int, Any], home: str) -> dict[str, str]:
    if isinstance(device, Device.VirtualSCSIController):
        kind = next(name for cls, name in SCSI_TYPES if isinstance(device, cls))
        node = f"scsi{device.busNumber}"
        return {f"{node}.present": "TRUE", f"{node}.virtualDev": kind, f"{node}.sharedBus": _shared(device.sharedBus)}
    if isinstance(device, Device.VirtualSATAController):
        return {f"sata{device.busNumber}.present": "TRUE"}
    if isinstance(device, Device.VirtualNVMEController):
        return {f"nvme{device.busNumber}.present": "TRUE"}
    if isinstance(device, Device.VirtualEthernetCard):
        return _nic_lines(device)
    node = node_of(device, devices)
    if isinstance(device, Disk) and node:
        return _disk_lines(device, node, home)
    if isinstance(device, Device.VirtualCdrom) and node:
        iso = getattr(device.backing, "fileName", None)
        kind = "cdrom-image" if iso else "atapi-cdrom"
        return {f"{node}.present": "TRUE", f"{node}.deviceType": kind, f"{node}.fileName": iso or "emptyBackingString"}
    return {}


def _disk_lines(disk: Any, node: str, home: str) -> dict[str, str]:
    path = disk.backing.fileName
    near = ds_paths.folder_of(path) == home
    lines = {
        f"{node}.present": "TRUE",
        f"{node}.deviceType": "scsi-passthru-rdm"
        if is_rdm(disk.backing, "physicalMode")
        else f"{node[:4].rstrip('0123456789')}-hardDisk",
        f"{node}.fileName": ds_paths.base_name(path) if near else path,
    }
    mode = str(disk.backing.diskMode or "persistent")
    if mode != "persistent":
        lines[f"{node}.mode"] = mode.replace("independent_", "independent-")
    return lines


def _nic_lines(card: Any) -> dict[str, str]:
    node = f"ethernet{max(0, card.key - 4000)}"
    kind = next((name for cls, name in NIC_TYPES if isinstance(card, cls)), "vmxnet3")
    network = getattr(card.backing, "deviceName", None) or ""
    lines = {f"{node}.present": "TRUE", f"{node}.virtualDev": kind, f"{node}.networkName": network}
    port = getattr(card.backing, "port", None)
    if port is not None:
        lines |= {f"{node}.dvs.switchId": port.switchUuid or "", f"{node}.dvs.portgroupId": port.portgroupKey or ""}
    return lines | {f"{node}.addressType": "static", f"{node}.address": card.macAddress or ""}


def _shared(mode: str | None) -> str:
    return {"noSharing": "none", "virtualSharing": "virtual", "physicalSharing": "physical"}.get(str(mode), "none")


def _guest_os(guest_id: str) -> str:
    return re.sub(r"_?(64)?Guest(64)?$", lambda match: "-64" if "64" in match[0] else "", guest_id).lower()


def _vmx_uuid(uuid: str | None) -> str:
    digits = (uuid or "").replace("-", "")
    pairs = [digits[index : index + 2] for index in range(0, len(digits), 2)]
    return " ".join(pairs[:8]) + "-" + " ".join(pairs[8:])


def read_uuid(text: str) -> str:
    """Return a uuid in the API's spelling from the .vmx file's."""
    digits = re.sub(r"[^0-9a-fA-F]", "", text).lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def controller_types() -> dict[str, Any]:
    """SCSI controller types by their .vmx name."""
    return {name: kind for kind, name in SCSI_TYPES}


def nic_types() -> dict[str, Any]:
    """Network card types by their .vmx name."""
    return {name: kind for kind, name in NIC_TYPES}
