"""A saved VM configuration to build from, as vSphere would have given it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vmkeep.vsphere.api import vim

DEVICE = vim.vm.device


def default_devices() -> list[Any]:
    """Devices that every VM has by itself."""
    return [
        DEVICE.VirtualIDEController(key=200, busNumber=0, device=[3000]),
        DEVICE.VirtualIDEController(key=201, busNumber=1),
        DEVICE.VirtualPS2Controller(key=300, busNumber=0, device=[600, 700]),
        DEVICE.VirtualPCIController(key=100, busNumber=0, device=[500, 1000, 4000, 12000]),
        DEVICE.VirtualSIOController(key=400, busNumber=0),
        DEVICE.VirtualKeyboard(key=600, controllerKey=300, unitNumber=0),
        DEVICE.VirtualPointingDevice(key=700, controllerKey=300, unitNumber=1),
        DEVICE.VirtualVMCIDevice(key=12000, controllerKey=100, unitNumber=17, id=42),
    ]


def flat(name: str, **more: Any) -> Any:
    """The backing of an ordinary disk as it is after some snapshots: full of what belongs to the old file."""
    base = DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName=f"[plat004-local] old/{name}.vmdk", diskMode="persistent", thinProvisioned=True, uuid="6000C29"
    )
    return DEVICE.VirtualDisk.FlatVer2BackingInfo(
        fileName=f"[plat004-local] old/{name}-000001.vmdk",
        datastore=vim.Datastore("datastore-1"),
        diskMode=more.pop("diskMode", "persistent"),
        uuid="6000C29",
        contentId="abc",
        changeId="52 aa/7",
        parent=base,
        **more,
    )


def disk(key: int, unit: int, capacity: int, backing: Any, *, controller: int = 1000) -> Any:
    """A virtual disk as it is in ``config.hardware.device``."""
    return DEVICE.VirtualDisk(
        key=key,
        deviceInfo=vim.Description(label=f"Hard disk {key - 1999}", summary=""),
        controllerKey=controller,
        unitNumber=unit,
        capacityInKB=capacity // 1024,
        capacityInBytes=capacity,
        diskObjectId="1-2000",
        backing=backing,
    )


def physical_rdm() -> Any:
    """The backing of a physical-mode RDM."""
    return DEVICE.VirtualDisk.RawDiskMappingVer1BackingInfo(
        fileName="[plat004-local] old/rdm.vmdk",
        deviceName="vml.0200",
        lunUuid="0200",
        compatibilityMode="physicalMode",
        diskMode="independent_persistent",
    )


def saved_config(*devices: Any, **more: Any) -> Any:
    """A VirtualMachineConfigInfo."""
    return vim.vm.ConfigInfo(
        name="My Old VM",
        changeVersion="1",
        modified=datetime(2026, 1, 2, tzinfo=UTC),
        guestFullName="Microsoft Windows",
        template=False,
        version="vmx-04",
        uuid="42000000-0000-0000-0000-000000000001",
        instanceUuid="52000000-0000-0000-0000-000000000001",
        guestId="winNetStandardGuest",
        alternateGuestName="Microsoft Windows Server 2008, Enterprise Edition",
        files=vim.vm.FileInfo(
            vmPathName="[plat004-local] old/old.vmx", snapshotDirectory="[plat004-local] old/", logDirectory="[x] y"
        ),
        tools=vim.vm.ToolsConfigInfo(toolsVersion=12345, afterPowerOn=True, beforeGuestShutdown=True),
        flags=vim.vm.FlagInfo(snapshotPowerOffBehavior="powerOff", faultToleranceType="unset"),
        defaultPowerOps=vim.vm.DefaultPowerOpInfo(powerOffType="preset", standbyAction="powerOnSuspend"),
        hardware=vim.vm.VirtualHardware(numCPU=1, memoryMB=256, device=[*default_devices(), *devices]),
        **more,
    )


@pytest.fixture
def sample() -> Any:
    """The VM of the restore design document: a CD-ROM, an LsiLogic controller, a PCNet32 card, two disks."""
    connect = DEVICE.VirtualDevice.ConnectInfo
    return saved_config(
        DEVICE.VirtualCdrom(
            key=3000,
            controllerKey=200,
            unitNumber=0,
            backing=DEVICE.VirtualCdrom.IsoBackingInfo(
                fileName="[isos] windows.iso", datastore=vim.Datastore("datastore-9")
            ),
            connectable=connect(startConnected=True, allowGuestControl=True, connected=True, status="ok"),
        ),
        DEVICE.VirtualLsiLogicController(
            key=1000, controllerKey=100, unitNumber=3, busNumber=0, sharedBus="noSharing", scsiCtlrUnitNumber=7,
            device=[2000, 2001],
        ),
        DEVICE.VirtualPCNet32(
            key=4000,
            controllerKey=100,
            unitNumber=7,
            deviceInfo=vim.Description(label="Network adapter 1", summary=""),
            backing=DEVICE.VirtualEthernetCard.NetworkBackingInfo(
                deviceName="Virtual Machine Network", network=vim.Network("network-7")
            ),
            connectable=connect(startConnected=True, allowGuestControl=True, connected=False, status="untried"),
            addressType="assigned",
            macAddress="00:50:56:aa:bb:cc",
            wakeOnLanEnabled=True,
        ),
        disk(2000, 0, 524288 * 1024, flat("old")),
        disk(2001, 1, 131072 * 1024, flat("old_1")),
    )  # fmt: skip


@pytest.fixture
def make_config() -> Any:
    """The builder of saved configurations."""
    return saved_config


@pytest.fixture
def make_disk() -> Any:
    """The builder of saved disks."""
    return disk


@pytest.fixture
def make_flat() -> Any:
    """The builder of ordinary backings."""
    return flat


@pytest.fixture
def rdm_backing() -> Any:
    """The backing of a physical-mode RDM."""
    return physical_rdm()
