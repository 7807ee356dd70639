"""Describes a saved VM in words that every hypervisor knows, and names each of its parts that has no place there. Pure.

:mod:`vmkeep.vsphere.portableparts` has a rule for each kind of device and each member of a configuration, so that none
is lost because nobody thought of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.point import Consistency, Power, RestorePoint
from vmkeep.model.portable import Firmware, LeftOut, PortableCard, PortableDisk, PortableMachine
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.cards import Origin, saved_cards
from vmkeep.vsphere.disks import disks_of
from vmkeep.vsphere.hardware import version_number
from vmkeep.vsphere.portableparts import of_cards, of_devices, of_members

_CARD = vim.vm.device.VirtualEthernetCard
_MORE = {
    SkipReason.PHYSICAL_RDM: "back it up from its LUN, or copy it by the means of its storage array",
    SkipReason.INDEPENDENT: "back the VM up in mode ASIS while it is off",
    SkipReason.SHARED: "back the VM up in mode ASIS while it is off",
    SkipReason.EXCLUDED: "back the VM up without that rule",
    SkipReason.UNSUPPORTED_BACKING: "copy it by the means of the guest",
}


def portable_machine(config: Any, point: RestorePoint, origin: Origin) -> PortableMachine:
    """Return the machine that a saved configuration describes, with the disks that its point holds.

    :param config: a parsed ``VirtualMachineConfigInfo``.
    """
    devices, hardware = list(config.hardware.device), config.hardware
    cores, options = hardware.numCoresPerSocket or 1, config.bootOptions
    return PortableMachine(
        name=point.vm.name,
        cpus=hardware.numCPU,
        cores_per_socket=1 if hardware.numCPU % cores else cores,
        memory_mib=hardware.memoryMB,
        firmware=Firmware.EFI if config.firmware == "efi" else Firmware.BIOS,
        secure_boot=bool(options is not None and options.efiSecureBootEnabled),
        guest_id=config.guestId or "otherGuest64",
        guest_name=config.alternateGuestName or config.guestFullName or "",
        hardware_version=version_number(config.version) or None,
        bios_uuid=config.uuid,
        annotation=config.annotation or "",
        disks=tuple(_disk(image.disk) for image in sorted(point.images, key=lambda image: image.disk.key)),
        cards=tuple(_cards(devices, origin)),
        boot_disk=_boot_disk(config, point),
        left_out=(
            *_of_skipped(point),
            *_of_copied(devices, point),
            *_of_state(config, point),
            *of_devices(devices),
            *of_cards(devices),
            *_of_boot_order(config, point),
            *of_members(config),
        ),
    )


def _disk(disk: Disk) -> PortableDisk:
    return PortableDisk(
        label=disk.label,
        controller=disk.controller,
        controller_type=disk.controller_type,
        bus=disk.bus,
        unit=disk.unit,
        capacity=disk.capacity,
        key=disk.key,
    )


def _cards(devices: list[Any], origin: Origin) -> Iterator[PortableCard]:
    by_key = {device.key: device for device in devices if isinstance(device, _CARD)}
    for saved in saved_cards(devices, origin):
        card = by_key[saved.key]
        yield PortableCard(
            label=saved.label,
            model=type_name(card).removeprefix("Virtual").lower(),
            mac=(card.macAddress or "").lower() or None,
            network=saved.network if saved.names else "",
            connected=card.connectable is None or bool(card.connectable.startConnected),
        )


def _boot_order(config: Any) -> list[Any]:
    return list(config.bootOptions.bootOrder) if config.bootOptions is not None else []


def _boot_disk(config: Any, point: RestorePoint) -> int | None:
    keys = {image.disk.key for image in point.images}
    asked = (getattr(item, "deviceKey", None) for item in _boot_order(config) if _is_disk(item))
    return next((key for key in asked if key in keys), None)


def _is_disk(item: Any) -> bool:
    return isinstance(item, vim.vm.BootOptions.BootableDiskDevice)


def _of_boot_order(config: Any, point: RestorePoint) -> Iterator[LeftOut]:
    order = _boot_order(config)
    if order and not _is_disk(order[0]):
        first = type_name(order[0]).removeprefix("VirtualMachineBootOptionsBootable").removesuffix("Device")
        yield LeftOut(
            part="Boot order",
            why=f"the VM started from its {first} first, and the new machine starts from a disk: change its boot order",
        )
    keys = {image.disk.key for image in point.images}
    if any(_is_disk(item) and item.deviceKey not in keys for item in order):
        yield LeftOut(
            part="Boot order",
            why="it names a disk that the restore point does not hold: the new machine may not start without it",
        )


def _of_skipped(point: RestorePoint) -> Iterator[LeftOut]:
    for disk in point.skipped:
        remedy = _MORE[disk.skip] if disk.skip is not None else "back the VM up again"
        yield LeftOut(
            part=f"{disk.label} ({disk.address})",
            why=f"the restore point does not hold it: {disk.why_skipped or 'it was skipped'}: {remedy}",
        )


def _of_copied(devices: list[Any], point: RestorePoint) -> Iterator[LeftOut]:
    """Name the properties of copied disks that the new machine's disks do not have."""
    saved = {device.key: device for device in devices if isinstance(device, vim.vm.device.VirtualDisk)}
    now = {disk.key: disk for disk in disks_of(devices)}
    for disk in (image.disk for image in point.images):
        part = f"{disk.label} ({disk.address})"
        if disk.compatibility_mode is not None:
            yield LeftOut(part=f"{part}: RDM", why="its content becomes an ordinary disk, not a mapped LUN")
        if disk.disk_mode.endswith("nonpersistent"):
            yield LeftOut(
                part=f"{part}: disk mode",
                why="its changes were thrown away at power-off, and the new machine keeps them",
            )
        described = now.get(disk.key)
        if described is not None and described.skip is SkipReason.SHARED:
            yield LeftOut(
                part=f"{part}: sharing",
                why="the VM shared it with others, and the new machine has it alone: share it there by hand",
            )
        if disk.key_id is not None:
            yield LeftOut(part=f"{part}: encryption", why="the exported disk is not encrypted: protect its files")
        if disk.key in saved and (more := _settings_of(saved[disk.key])):
            yield LeftOut(part=f"{part}: {more}", why="other hypervisors have settings of their own: set them there")


def _settings_of(disk: Any) -> str:
    limits = disk.storageIOAllocation
    limited = limits is not None and (
        (limits.limit or -1) > 0 or limits.reservation or getattr(limits.shares, "level", "normal") != "normal"
    )
    named = (("I/O shares and limits", limited), ("flash read cache", disk.vFlashCacheConfigInfo is not None))
    filtered = bool(list(disk.iofilter or ()) or list(getattr(disk, "independentFilters", None) or ()))
    return ", ".join([name for name, there in named if there] + (["I/O filters"] if filtered else []))


def _of_state(config: Any, point: RestorePoint) -> Iterator[LeftOut]:
    """Name the parts beside disks and configuration: memory, snapshots, and the firmware's own memory."""
    if point.power is Power.SUSPENDED or point.consistency in (Consistency.MEMORY, Consistency.SUSPENDED):
        yield LeftOut(part="Memory", why="the guest starts as after a power failure, not from its memory")
    if chained := [image.disk.label for image in point.images if len(image.disk.chain) > 1]:
        yield LeftOut(
            part="Snapshots",
            why=f"{', '.join(chained)}: only the content at the time of the backup is there, without older snapshots",
        )
    if config.firmware == "efi":
        yield LeftOut(
            part="NVRAM (EFI variables)",
            why="the boot entries and keys of the EFI are lost, so the firmware starts \\EFI\\BOOT\\BOOTX64.EFI: if "
            "the guest has no such file, choose its loader once in the firmware's menu",
        )
    else:
        yield LeftOut(part="NVRAM (BIOS settings)", why="the BIOS starts with its usual settings")
