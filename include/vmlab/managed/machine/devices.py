"""Virtual devices: the default ones of every VM, the keys that vSphere gives them, the places on each controller.

Pure: works on device objects, and touches neither files nor the world.
"""

from typing import Any

from vmlab.api import vim

Device = vim.vm.device
Disk = Device.VirtualDisk

DEFAULT_TYPES = (
    Device.VirtualIDEController,
    Device.VirtualPS2Controller,
    Device.VirtualPCIController,
    Device.VirtualSIOController,
    Device.VirtualKeyboard,
    Device.VirtualPointingDevice,
    Device.VirtualVMCIDevice,
)
"""The devices that every VM has by itself. Nobody may add or remove one."""

# Controller type → (first key, number of buses, first key of a disk on it, keys per bus, units, reserved unit)
CONTROLLERS: tuple[tuple[Any, tuple[int, int, int, int, int, int]], ...] = (
    (Device.ParaVirtualSCSIController, (1000, 4, 2000, 16, 64, 7)),
    (Device.VirtualSCSIController, (1000, 4, 2000, 16, 16, 7)),
    (Device.VirtualSATAController, (15000, 4, 16000, 30, 30, -1)),
    (Device.VirtualNVMEController, (31000, 4, 32000, 15, 15, -1)),
    (Device.VirtualIDEController, (200, 2, 3000, 2, 2, -1)),
)

FIRST_KEYS: tuple[tuple[Any, int], ...] = (
    (Device.VirtualEthernetCard, 4000),
    (Device.VirtualSoundCard, 5000),
    (Device.VirtualUSBController, 7000),
    (Device.VirtualFloppy, 8000),
    (Device.VirtualSerialPort, 9000),
    (Device.VirtualParallelPort, 10000),
    (Device.VirtualTPM, 11000),
    (Device.VirtualVMCIDevice, 12000),
    (Device.VirtualPCIPassthrough, 13000),
    (Device.VirtualUSBXHCIController, 14000),
    (Device.VirtualVideoCard, 500),
)

LABELS: tuple[tuple[Any, str], ...] = (
    (Disk, "Hard disk"),
    (Device.VirtualCdrom, "CD/DVD drive"),
    (Device.VirtualEthernetCard, "Network adapter"),
    (Device.VirtualSCSIController, "SCSI controller"),
    (Device.VirtualSATAController, "SATA controller"),
    (Device.VirtualNVMEController, "NVME controller"),
    (Device.VirtualIDEController, "IDE"),
    (Device.VirtualUSBXHCIController, "USB xHCI controller"),
    (Device.VirtualUSBController, "USB controller"),
    (Device.VirtualFloppy, "Floppy drive"),
    (Device.VirtualSerialPort, "Serial port"),
    (Device.VirtualParallelPort, "Parallel port"),
    (Device.VirtualTPM, "Virtual TPM"),
)

SUMMARIES: tuple[tuple[Any, str], ...] = (
    (Device.ParaVirtualSCSIController, "VMware paravirtual SCSI"),
    (Device.VirtualLsiLogicSASController, "LSI Logic SAS"),
    (Device.VirtualLsiLogicController, "LSI Logic"),
    (Device.VirtualBusLogicController, "BusLogic"),
    (Device.VirtualAHCIController, "AHCI"),
    (Device.VirtualNVMEController, "NVME Controller"),
    (Device.VirtualIDEController, "IDE"),
)


def default_devices() -> list[Any]:
    """The devices a VM has before anything is added, with vSphere's fixed keys."""
    ide = [Device.VirtualIDEController(key=200 + bus, busNumber=bus, deviceInfo=info(f"IDE {bus}")) for bus in (0, 1)]
    ps2 = Device.VirtualPS2Controller(key=300, busNumber=0, deviceInfo=info("PS2 controller 0"), device=[600, 700])
    pci = Device.VirtualPCIController(key=100, busNumber=0, deviceInfo=info("PCI controller 0"), device=[500, 12000])
    sio = Device.VirtualSIOController(key=400, busNumber=0, deviceInfo=info("SIO controller 0"))
    keyboard = Device.VirtualKeyboard(key=600, controllerKey=300, unitNumber=0, deviceInfo=info("Keyboard"))
    return [*ide, ps2, pci, sio, keyboard, _pointer(), _video(), _vmci()]


def _pointer() -> Any:
    backing = Device.VirtualPointingDevice.DeviceBackingInfo(
        deviceName="", useAutoDetect=False, hostPointingDevice="autodetect"
    )
    label = info("Pointing device", "Pointing device; Device")
    return Device.VirtualPointingDevice(key=700, controllerKey=300, unitNumber=1, deviceInfo=label, backing=backing)


def _video() -> Any:
    return Device.VirtualVideoCard(
        key=500,
        controllerKey=100,
        unitNumber=0,
        deviceInfo=info("Video card ", "Video card"),
        videoRamSizeInKB=4096,
        numDisplays=1,
        useAutoDetect=False,
        enable3DSupport=False,
        use3dRenderer="automatic",
        graphicsMemorySizeInKB=262144,
    )


def _vmci() -> Any:
    return Device.VirtualVMCIDevice(
        key=12000,
        controllerKey=100,
        unitNumber=17,
        id=-1,
        allowUnrestrictedCommunication=False,
        filterEnable=True,
        deviceInfo=info("VMCI device"),
    )


def info(label: str, summary: str = "") -> Any:
    """A device's label and summary."""
    return vim.Description(label=label, summary=summary or label)


def rules_of(controller: Any) -> tuple[int, int, int, int, int, int] | None:
    """The numbers of a disk controller's type; None for a device that takes no disks."""
    return next((rules for kind, rules in CONTROLLERS if isinstance(controller, kind)), None)


def is_disk_controller(device: Any) -> bool:
    """Return whether disks can be attached to a device."""
    return rules_of(device) is not None


def family_of(controller: Any) -> Any:
    """The bus family: SCSI controllers of all types share the numbers of their buses."""
    kinds = (
        Device.VirtualSCSIController,
        Device.VirtualSATAController,
        Device.VirtualNVMEController,
        Device.VirtualIDEController,
    )
    return next((kind for kind in kinds if isinstance(controller, kind)), None)


def key_for(device: Any, controller: Any, taken: set[int]) -> int:
    """The key vSphere gives a new device: by controller and unit for disks and CD-ROMs, by kind for others."""
    rules = rules_of(device)
    if rules is not None:
        return rules[0] + int(device.busNumber or 0)
    on = rules_of(controller) if controller is not None else None
    if on is not None and isinstance(device, (Disk, Device.VirtualCdrom)):
        key = on[2] + int(controller.busNumber or 0) * on[3] + int(device.unitNumber or 0)
        if key not in taken and (device.unitNumber or 0) < on[3]:
            return key
    first = next((key for kind, key in FIRST_KEYS if isinstance(device, kind)), 40000)
    return next(key for key in range(first, first + 100000) if key not in taken)


def describe(device: Any, devices: list[Any]) -> None:
    """Give a new device its label and summary, numbered as vSphere numbers them."""
    kind, label = next(
        ((kind, label) for kind, label in LABELS if isinstance(device, kind)), (type(device), type(device).__name__)
    )
    if is_disk_controller(device):
        text = f"{label} {device.busNumber}"
    elif isinstance(device, Device.VirtualVideoCard):
        text = "Video card "
    else:
        used = {
            getattr(other.deviceInfo, "label", "")
            for other in devices
            if isinstance(other, kind) and other is not device
        }
        text = next(f"{label} {number}" for number in range(1, 10000) if f"{label} {number}" not in used)
    summary = next((name for kind, name in SUMMARIES if isinstance(device, kind)), text.strip())
    if isinstance(device, Disk):
        summary = f"{int(device.capacityInKB or 0):,} KB"
    elif isinstance(device, Device.VirtualEthernetCard):
        summary = getattr(device.backing, "deviceName", None) or "Network"
    device.deviceInfo = info(text, summary)


def link_children(devices: list[Any]) -> None:
    """Fill every controller's `device` list from the devices' `controllerKey`."""
    for controller in devices:
        if isinstance(controller, Device.VirtualController):
            controller.device = [device.key for device in devices if device.controllerKey == controller.key]


def adapter_of(controller: Any) -> str:
    """Return the adapter type that a disk's descriptor has for a controller."""
    if isinstance(controller, Device.VirtualIDEController):
        return "ide"
    return "buslogic" if isinstance(controller, Device.VirtualBusLogicController) else "lsilogic"


def is_rdm(backing: Any, mode: str | None = None) -> bool:
    """Return whether a backing is a raw device mapping, of a certain compatibility mode if one is given."""
    found = getattr(backing, "compatibilityMode", None)
    return isinstance(backing, Disk.RawDiskMappingVer1BackingInfo) and mode in (None, found)


def in_snapshots(disk: Any) -> bool:
    """Return whether a snapshot freezes a disk: an independent disk and a physical raw device mapping are left out."""
    return not is_rdm(disk.backing, "physicalMode") and not str(disk.backing.diskMode or "").startswith("independent")


def is_multi_writer(disk: Any) -> bool:
    """Return whether several running VMs may have a disk."""
    return getattr(disk.backing, "sharing", None) == "sharingMultiWriter"


def shares_bus(device: Any) -> bool:
    """Return whether a device is a SCSI controller whose disks several running VMs may have."""
    return isinstance(device, Device.VirtualSCSIController) and device.sharedBus not in (None, "noSharing")


def shareable(devices: list[Any]) -> set[str]:
    """Return the paths of the disks among some devices that another running VM may have, too."""
    buses = {device.key for device in devices if shares_bus(device)}
    return {
        device.backing.fileName
        for device in devices
        if isinstance(device, Disk) and (is_multi_writer(device) or device.controllerKey in buses)
    }
