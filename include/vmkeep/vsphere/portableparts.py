"""Rules for the parts of a saved VM on the way to other hypervisors: each is carried, usual everywhere, or named. Pure.

A test walks over every kind of device and every member that pyVmomi knows, and fails if one has no rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vmkeep.model.portable import LeftOut
from vmkeep.vsphere.advancedsettings import kept_settings
from vmkeep.vsphere.api import type_name, vim
from vmkeep.vsphere.configtable import LOST
from vmkeep.vsphere.lowering import has_own_numa_nodes

_KINDS = vim.vm.device
CARRIED = (
    _KINDS.VirtualDisk,
    _KINDS.VirtualEthernetCard,
    _KINDS.VirtualSCSIController,
    _KINDS.VirtualSATAController,
    _KINDS.VirtualNVMEController,
    _KINDS.VirtualIDEController,
)
"""Devices that the description has a place for. Controllers come with their disks."""
EVERYWHERE = (
    _KINDS.VirtualPS2Controller,
    _KINDS.VirtualPCIController,
    _KINDS.VirtualSIOController,
    _KINDS.VirtualKeyboard,
    _KINDS.VirtualPointingDevice,
)
"""Devices that every machine has by itself, on every hypervisor."""
ONLY_OF_VSPHERE = (_KINDS.VirtualVMCIDevice,)
"""Devices that every VM of vSphere has by itself, for VMware Tools alone."""

Named = tuple[str, Callable[[Any], object]]
"""The meaning of a loss with its remedy, and a test whether the saved part means anything."""
_TPM = (
    "its secrets cannot leave vSphere: have the recovery keys of BitLocker and the like at hand before the first "
    "start, or switch that protection off before the last backup; then give the new machine a TPM of its own"
)
_OF_THE_HOST = "it is a device of the old host: give the new machine one of its own host, if the guest needs it"


def _always(_part: Any) -> bool:
    return True


DEVICES: tuple[tuple[Any, Named], ...] = (
    (_KINDS.VirtualTPM, (_TPM, _always)),
    (_KINDS.VirtualCdrom, ("no drive or image is taken along: attach what the guest still needs", _always)),
    (_KINDS.VirtualFloppy, ("no drive or image is taken along: attach what the guest still needs", _always)),
    (_KINDS.VirtualSriovEthernetCard, ("the new card is an ordinary one, not a part of a card of the host", _always)),
    (_KINDS.VirtualPCIPassthrough, (_OF_THE_HOST, _always)),
    (_KINDS.VirtualSCSIPassthrough, (_OF_THE_HOST, _always)),
    (_KINDS.VirtualUSB, (_OF_THE_HOST, _always)),
    (
        _KINDS.VirtualUSBController,
        ("the new machine has the USB controller that is usual there: add one if the guest needs it", _always),
    ),
    (
        _KINDS.VirtualUSBXHCIController,
        ("the new machine has the USB controller that is usual there: add one if the guest needs it", _always),
    ),
    (_KINDS.VirtualSerialPort, ("what it led to is not there: add a port if the guest writes to one", _always)),
    (_KINDS.VirtualParallelPort, ("what it led to is not there: add a port if the guest prints to one", _always)),
    (_KINDS.VirtualSoundCard, ("add a sound card there if the guest needs it", _always)),
    (_KINDS.VirtualNVDIMM, ("no backup holds persistent memory: copy its content by the means of the guest", _always)),
    (_KINDS.VirtualNVDIMMController, ("no backup holds persistent memory", _always)),
    (_KINDS.VirtualVMIROM, ("no hypervisor has it any more", _always)),
    (_KINDS.VirtualWDT, ("add a watchdog there if the guest feeds one", _always)),
    (_KINDS.VirtualPrecisionClock, ("the guest finds no such clock: let it keep its time by NTP", _always)),
    (
        _KINDS.VirtualVideoCard,
        (
            "the new machine has the usual video card there, with one display and without 3D",
            lambda device: device.enable3DSupport or (device.numDisplays or 1) > 1,
        ),
    ),
)
"""Devices that are named when they are left out."""


def of_devices(devices: Iterable[Any]) -> Iterator[LeftOut]:
    """Yield each device that the description has no place for."""
    for device in devices:
        if isinstance(device, (*EVERYWHERE, *ONLY_OF_VSPHERE)):
            continue
        rule = next((rule for kind, rule in DEVICES if isinstance(device, kind)), None)
        if rule is None and isinstance(device, CARRIED):
            continue
        why, matters = rule or ("this program does not know the device: look at it before you leave vSphere", _always)
        if matters(device):
            yield LeftOut(part=_label(device), why=why)


def of_cards(devices: Iterable[Any]) -> Iterator[LeftOut]:
    """Yield the settings of network cards that the description has no place for."""
    for card in (device for device in devices if isinstance(device, _KINDS.VirtualEthernetCard)):
        label, backing = _label(card), card.backing
        if getattr(backing, "port", None) is not None:
            yield LeftOut(
                part=f"{label}: port of a distributed switch",
                why="VLAN, security and teaming of the port group do not come along: set them on the new network",
            )
        if getattr(backing, "opaqueNetworkId", None):
            yield LeftOut(
                part=f"{label}: NSX network",
                why="segment, firewall rules and tags of NSX do not come along: set them on the new network",
            )
        limits = card.resourceAllocation
        if limits is not None and (
            limits.reservation or (limits.limit or -1) > 0 or getattr(limits.share, "level", "normal") != "normal"
        ):
            yield LeftOut(part=f"{label}: shares and limits", why="set the limits of the new network there")
        if isinstance(card, _KINDS.VirtualVmxnet3Vrdma):
            yield LeftOut(part=f"{label}: RDMA", why="the new card does not do RDMA: programs fall back to TCP")


def _label(device: Any) -> str:
    label = device.deviceInfo.label.strip() if device.deviceInfo is not None and device.deviceInfo.label else ""
    return label or f"{type_name(device)} {device.key}"


_HOT_ADD = "the new machine's numbers are fixed while it runs: set hot-plug there if the guest relies on it"
_CONFIDENTIAL = "the guest's memory is not encrypted there unless you set it up"
_THERE = "set it on the new machine, if it is still needed"
MEMBERS: Mapping[str, tuple[str, str, Callable[[Any], object]]] = {
    "template": ("Template", "the new machine is an ordinary one: make a template of it there", bool),
    "flags": (
        "IOMMU and virtualisation-based security",
        "the guest does not find them: Windows goes on without Credential Guard and the like until you set them there",
        lambda value: value.vvtdEnabled or getattr(value, "vbsEnabled", False),
    ),
    "cpuFeatureMask": ("CPU feature masks", "the new machine shows the CPU that you choose there", bool),
    "vcpuConfig": ("Settings of single CPUs", _THERE, bool),
    "latencySensitivity": ("Latency sensitivity", _THERE, lambda value: value.level not in (None, "normal")),
    "memoryHotAddEnabled": ("Memory hot add", _HOT_ADD, bool),
    "cpuHotAddEnabled": ("CPU hot add", _HOT_ADD, bool),
    "cpuHotRemoveEnabled": ("CPU hot removal", _HOT_ADD, bool),
    "memoryReservationLockedToMax": ("Locked memory reservation", _THERE, bool),
    "nestedHVEnabled": ("Nested virtualisation", _THERE, bool),
    "vPMCEnabled": ("CPU performance counters", _THERE, bool),
    "rebootPowerOff": ("Power-off instead of reboot", _THERE, bool),
    "sevEnabled": ("AMD SEV", _CONFIDENTIAL, bool),
    "sevSnpEnabled": ("AMD SEV-SNP", _CONFIDENTIAL, bool),
    "tdxEnabled": ("Intel TDX", _CONFIDENTIAL, bool),
    "sgxInfo": ("Intel SGX", "enclaves of the guest do not start there", lambda value: value.epcSize),
    "numaInfo": ("NUMA nodes", _THERE, has_own_numa_nodes),
    "cpuAffinity": ("CPU affinity", "it named CPUs of the old host", lambda value: value.affinitySet),
    "memoryAffinity": ("Memory affinity", "it named NUMA nodes of the old host", lambda value: value.affinitySet),
    "npivNodeWorldWideName": ("NPIV world wide names", "give the storage array those of the new machine", bool),
    "keyId": (
        "Encryption",
        "the exported files are not encrypted: protect them, and encrypt on the new place",
        _always,
    ),
    "managedBy": (
        "Managing extension",
        "the product that made the VM does not manage the new machine",
        lambda value: value.extensionKey,
    ),
    "vAppConfig": (
        "vApp properties",
        "the guest gets no OVF environment: if it takes its address or its role from there, set them in the guest",
        _always,
    ),
}
"""Members that are named if they mean anything: the part, the meaning of its loss with the remedy, and the test."""


def of_members(config: Any) -> Iterator[LeftOut]:
    """Yield each setting of a saved VM that meant something and has no place in the description."""
    for name, (part, why, matters) in MEMBERS.items():
        value = getattr(config, name)
        if value not in (None, []) and matters(value):
            yield LeftOut(part=part, why=why)
    for name, (words, matters) in LOST.items():
        value = getattr(config, name)
        if value not in (None, []) and matters(value):
            yield LeftOut(part=words.removeprefix("its ").removeprefix("the ").capitalize(), why=_THERE)
    yield from _of_allocations(config)
    yield from _of_hardware(config)
    yield from _of_settings(config)


def _of_allocations(config: Any) -> Iterator[LeftOut]:
    for part, limits in (("CPU", config.cpuAllocation), ("Memory", config.memoryAllocation)):
        if limits is not None and (
            limits.reservation or (limits.limit or -1) > 0 or getattr(limits.shares, "level", "normal") != "normal"
        ):
            yield LeftOut(part=f"{part} reservation, limit and shares", why=_THERE)


def _of_hardware(config: Any) -> Iterator[LeftOut]:
    hardware, boot = config.hardware, config.bootOptions
    if hardware.virtualICH7MPresent or hardware.virtualSMCPresent:
        yield LeftOut(part="Apple's SMC and ICH7M", why="macOS does not start without them")
    if (hardware.simultaneousThreads or 1) > 1:
        yield LeftOut(
            part="Threads of a CPU core", why="the new machine has cores of one thread: set it there if needed"
        )
    if boot is not None and (boot.bootDelay or boot.bootRetryEnabled or boot.enterBIOSSetup):
        yield LeftOut(part="Boot delay, retry and setup", why=_THERE)


def _of_settings(config: Any) -> Iterator[LeftOut]:
    """Name the advanced settings that vSphere did not write itself: those for the guest, and the others."""
    kept, lost = kept_settings(config.extraConfig, {}, encrypted=False)
    keys = [str(setting.key) for setting in kept]
    for_guest = [key for key in keys if key.lower().startswith("guestinfo.")]
    others = [key for key in keys if key not in for_guest]
    if for_guest:
        yield LeftOut(
            part=f"Values for the guest ({', '.join(for_guest)})",
            why="the guest reads them through VMware Tools, which find nothing there: set them in the guest",
        )
    if others:
        yield LeftOut(
            part=f"Advanced settings ({', '.join(others)})",
            why="they are vSphere's: set their like where one is needed",
        )
    for note in lost:
        yield LeftOut(part=note.removeprefix("not taken over: "), why=_THERE)
