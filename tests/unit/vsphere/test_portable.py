"""On the way to another hypervisor, every part of a saved VM is carried or named: none is lost silently."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fidelity.dimensions import DIMENSIONS
from tests.fidelity.drafts import Draft
from tests.unit.vsphere.conftest import DEVICE, default_devices, disk, flat, physical_rdm, saved_config
from tests.unit.vsphere.test_config_members import LEFT, kinds_below, members, some
from vmkeep.model.disk import ControllerKind
from vmkeep.model.point import (
    BackupKind,
    BackupMode,
    Consistency,
    DiskImage,
    Power,
    Quiesce,
    RestorePoint,
    VmIdentity,
)
from vmkeep.model.portable import Firmware, PortableCard
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.cards import UNKNOWN
from vmkeep.vsphere.configtable import LOST
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.portable import portable_machine
from vmkeep.vsphere.portableparts import CARRIED, DEVICES, EVERYWHERE, MEMBERS, ONLY_OF_VSPHERE

GIB = 1 << 30
TAKEN = (
    "name", "version", "guestId", "alternateGuestName", "annotation", "firmware", "uuid", "hardware", "bootOptions",
    "extraConfig", "cpuAllocation", "memoryAllocation",
)  # fmt: skip
"""Members that the description carries, or that have a rule of their own."""
PASSED_OVER = {
    "instanceUuid": "vCenter's own id of the VM",
    "locationId": "tells where the old VM's files were",
    "files": "tells where the old VM's files were",
    "tools": "settings of VMware Tools, which the new machine does not need",
    "defaultPowerOps": "settings of vSphere's buttons",
    "changeTrackingEnabled": "only backups of vSphere need it",
    "swapPlacement": "says where vSphere's swap file goes",
    "deviceSwap": "allows vSphere to change a controller",
    "consolePreferences": "settings of vSphere's console",
    "scheduledHardwareUpgradeInfo": "plans an upgrade of vSphere's hardware version",
    "guestAutoLockEnabled": "a setting of vSphere's console",
    "messageBusTunnelEnabled": "a channel of VMware Tools",
    "npivTemporaryDisabled": "counts only with world wide names",
    "npivOnNonRdmDisks": "counts only with world wide names",
    "npivPortWorldWideName": "comes with the node's world wide name",
    "maxMksConnections": "a setting of vSphere's console",
    "vAssertsEnabled": "a debugging aid of vSphere",
    "migrateEncryption": "a setting of vMotion",
    "ftEncryptionMode": "a setting of fault tolerance",
    "fixedPassthruHotPlugEnabled": "counts only with passthrough devices, which are named",
    "vmxStatsCollectionEnabled": "statistics of vSphere",
    "vmOpNotificationToAppEnabled": "messages of vSphere to the guest",
    "vmOpNotificationTimeout": "messages of vSphere to the guest",
}
"""Members that are left out without a word, because they mean nothing outside vSphere; each with its reason."""


def point_of(config: Any, **more: Any) -> RestorePoint:
    """A point that holds every disk that can be copied."""
    disks = disks_of(config.hardware.device)
    given: dict[str, Any] = {
        "id": "p1", "vm": VmIdentity(name="My VM", key="k"), "taken_at": datetime(2026, 1, 2, tzinfo=UTC), "run": "r",
        "mode_asked": BackupMode.SNAPSHOT_EXCL_MEM, "mode_used": BackupMode.SNAPSHOT_EXCL_MEM,
        "quiesce_asked": Quiesce.NONE, "consistency": Consistency.CRASH, "power": Power.ON,
        "images": tuple(
            DiskImage(disk=each, root="00", kind=BackupKind.FULL, reason="first") for each in disks if not each.skip
        ),
        "skipped": tuple(each for each in disks if each.skip),
    }  # fmt: skip
    return RestorePoint(**(given | more))


def described(config: Any, **more: Any) -> Any:
    return portable_machine(config, point_of(config, **more), UNKNOWN)


def left(machine: Any) -> dict[str, str]:
    return {each.part: each.why for each in machine.left_out}


def test_every_member_of_a_configuration_has_exactly_one_rule():
    assert sorted([*TAKEN, *PASSED_OVER, *MEMBERS, *LEFT, *LOST]) == sorted(members(vim.vm.ConfigInfo))
    assert all(PASSED_OVER.values())


def test_every_kind_of_device_has_a_rule():
    ruled = (*CARRIED, *EVERYWHERE, *ONLY_OF_VSPHERE, *(kind for kind, _ in DEVICES))
    abstract = {DEVICE.VirtualDevice, DEVICE.VirtualController}

    kinds = kinds_below(DEVICE.VirtualDevice)

    assert [kind for kind in kinds if kind not in abstract and not issubclass(kind, ruled)] == []


def config_of(draft: Draft) -> Any:
    """The configuration of a draft's VM, as far as its members are those of a spec."""
    settings = [vim.option.OptionValue(key=key, value=value) for key, value in draft.settings.items()]
    config = saved_config(*draft.devices, extraConfig=settings)
    for name in members(vim.vm.ConfigInfo) & members(vim.vm.ConfigSpec):
        value = getattr(draft.spec, name)
        kind = vim.vm.ConfigInfo._GetPropertyInfo(name).type
        if value not in (None, []) and isinstance(value, kind):
            setattr(config, name, value)
    config.cpuFeatureMask = [each.info for each in draft.spec.cpuFeatureMask]
    if draft.spec.vAppConfig is not None:
        config.vAppConfig = some(vim.vApp.VmConfigInfo)
    return config


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_device_of_the_fidelity_matrix_is_carried_or_named(dimension):
    for apply in DIMENSIONS[dimension].values():
        draft = Draft("vm")
        if dimension in ("disks", "disk format", "disk mode", "RDM", "settings", "place"):
            DIMENSIONS["controllers"]["pvscsi"](draft)
            DIMENSIONS["disks"]["two, units with a gap"](draft)
        apply(draft)
        machine = described(config_of(draft))
        named, cards = "\n".join(left(machine)), {card.model for card in machine.cards}
        for device in draft.devices:
            kind = type_name(device)
            if isinstance(device, DEVICE.VirtualEthernetCard):
                assert kind.removeprefix("Virtual").lower() in cards
            elif not isinstance(device, (*CARRIED, DEVICE.VirtualVideoCard)):
                assert kind in named, f"{dimension}: {kind}"
        assert ("VideoCard" in named) == any(isinstance(each, DEVICE.VirtualVideoCard) for each in draft.devices)


@pytest.mark.parametrize(
    "value",
    [
        ("CPU", "hot add, counters, nested"), ("CPU", "masked, NUMA nodes"), ("memory", "hot add"),
        ("memory", "reserved and locked"), ("shares and limits", "own"), ("shares and limits", "high"),
        ("latency", "high"), ("affinity", "CPUs"), ("affinity", "memory"), ("boot", "delay, retry, IPv6"),
        ("settings", "own"), ("settings", "of the old place"), ("vApp part", "properties"),
        ("management", "extension"), ("management", "flags"),
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_the_fidelity_matrix_that_mean_something_are_named(value):
    plain, changed = Draft("vm"), Draft("vm")
    DIMENSIONS[value[0]][value[1]](changed)

    assert left(described(config_of(changed))).keys() - left(described(config_of(plain))).keys()


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_means_something_is_named_and_one_that_is_not_set_is_not(name):
    part, why, _ = MEMBERS[name]
    value = some(vim.vm.ConfigInfo._GetPropertyInfo(name).type)

    config = saved_config()
    setattr(config, name, value)

    assert left(described(config)).get(part) == why
    assert part not in left(described(saved_config()))


def test_disks_cards_and_firmware_come_along():
    config = saved_config(
        DEVICE.ParaVirtualSCSIController(key=1000, controllerKey=100, busNumber=0, sharedBus="noSharing"),
        disk(2000, 0, 4 * GIB, flat("a")),
        disk(2001, 1, GIB, flat("b")),
        DEVICE.VirtualVmxnet3(
            key=4000, deviceInfo=vim.Description(label="Network adapter 1", summary=""), macAddress="00:50:56:AA:BB:CC",
            backing=DEVICE.VirtualEthernetCard.NetworkBackingInfo(deviceName="a%2fb"),
            connectable=DEVICE.VirtualDevice.ConnectInfo(startConnected=False, allowGuestControl=True, connected=False),
        ),
        firmware="efi",
        bootOptions=vim.vm.BootOptions(
            efiSecureBootEnabled=True, bootOrder=[vim.vm.BootOptions.BootableDiskDevice(deviceKey=2001)]
        ),
    )  # fmt: skip
    config.hardware.numCPU, config.hardware.numCoresPerSocket, config.version = 4, 2, "vmx-19"

    machine = described(config)

    assert (machine.name, machine.cpus, machine.cores_per_socket, machine.memory_mib) == ("My VM", 4, 2, 256)
    assert (machine.firmware, machine.secure_boot, machine.hardware_version) == (Firmware.EFI, True, 19)
    assert [(each.label, each.controller, each.unit, each.capacity) for each in machine.disks] == [
        ("Hard disk 1", ControllerKind.SCSI, 0, 4 * GIB), ("Hard disk 2", ControllerKind.SCSI, 1, GIB),
    ]  # fmt: skip
    assert [each.key for each in machine.disks_in_boot_order] == [2001, 2000]
    assert machine.cards == (
        PortableCard(
            label="Network adapter 1", model="vmxnet3", mac="00:50:56:aa:bb:cc", network="a/b", connected=False
        ),
    )
    assert "NVRAM (EFI variables)" in left(machine)
    assert "Boot order" not in left(machine)


def test_a_disk_that_is_not_in_the_point_is_named_with_the_remedy():
    config = saved_config(
        DEVICE.VirtualLsiLogicController(key=1000, controllerKey=100, busNumber=0, sharedBus="noSharing"),
        disk(2000, 0, GIB, flat("a")),
        disk(2001, 1, GIB, physical_rdm()),
        disk(2002, 2, GIB, flat("c", diskMode="independent_persistent")),
    )

    machine = described(config)

    assert [each.key for each in machine.disks] == [2000]
    assert "physical-mode RDM" in left(machine)["Hard disk 2 (scsi0:1)"]
    assert "mode ASIS" in left(machine)["Hard disk 3 (scsi0:2)"]


def test_a_copied_disk_that_was_more_than_a_disk_is_named():
    config = saved_config(
        DEVICE.VirtualLsiLogicController(key=1000, controllerKey=100, busNumber=0, sharedBus="virtualSharing"),
        disk(2000, 0, GIB, flat("a")),
        disk(2001, 1, GIB, physical_rdm()),
        disk(2002, 2, GIB, flat("c", diskMode="independent_nonpersistent")),
    )
    point = point_of(config)
    images = tuple(
        DiskImage(disk=replace(each, skip=None, key_id="k"), root="00", kind=BackupKind.FULL, reason="first")
        for each in point.disks
    )

    parts = left(portable_machine(config, replace(point, images=images, skipped=()), UNKNOWN))

    assert {
        "Hard disk 1 (scsi0:0): sharing", "Hard disk 2 (scsi0:1): RDM", "Hard disk 3 (scsi0:2): disk mode",
        "Hard disk 1 (scsi0:0): encryption",
    } <= parts.keys()  # fmt: skip


def test_memory_snapshots_and_the_tpm_are_named():
    config = saved_config(
        DEVICE.VirtualLsiLogicController(key=1000, controllerKey=100, busNumber=0, sharedBus="noSharing"),
        disk(2000, 0, GIB, flat("a")),
        DEVICE.VirtualTPM(key=11000, deviceInfo=vim.Description(label="Virtual TPM", summary="")),
    )

    parts = left(described(config, power=Power.SUSPENDED))

    assert "Memory" in parts
    assert "Snapshots" in parts
    assert "BitLocker" in parts["Virtual TPM"]


def test_a_plain_vm_loses_only_its_nvram():
    assert left(described(saved_config())) == {"NVRAM (BIOS settings)": "the BIOS starts with its usual settings"}
    assert default_devices()
