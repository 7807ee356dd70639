"""Reads a request for new disks: the saved disks that it names, and the addresses that it wants for them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.disk_words import NamedDisks
from vmkeep.model.disk import Disk
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.vsphere.inventory import PowerState, VmDescription
from vmkeep.vsphere.mappings import take_apart
from vmkeep.vsphere.slots import SlotRequest

_AT = named("at")


def chosen_disks(point: RestorePoint, request: AttachRequest) -> tuple[Disk, ...]:
    """Return the saved disks that are to be attached.

    :raises UnsupportedError: the backup does not hold one of them. A raw device mapping cannot be attached as one.
    """
    disks = NamedDisks(point.disks, whose="the restore point").find_all(request.disks, what="the disk to attach")
    copied = {image.disk.key for image in point.images}
    for disk in disks:
        if disk.key not in copied:
            rdm = (
                "; a raw device mapping cannot be attached as one: its content has to be read from the LUN by the "
                "backup (--read-lun), and can then be attached as an ordinary disk"
                if disk.physical_rdm
                else ""
            )
            raise UnsupportedError(
                f"{disk.label} ({disk.address}) is not in {point.ref}: {disk.why_skipped or 'it was not copied'}{rdm}"
            )
    return disks


def require_taker(vm: VmDescription) -> None:
    """Return if a VM can get a disk. Otherwise somebody would find out only after hours of writing.

    :raises UnsupportedError: it is a template or fault tolerant, or vSphere cannot change it.
    :raises ConflictError: it is suspended, or takes no device while it runs.
    """
    if vm.not_protectable is not None:
        raise UnsupportedError(f"VM {vm.ref} gets no disk, because vSphere cannot change it: {vm.not_protectable}")
    if vm.fault_tolerant:
        raise UnsupportedError(f"VM {vm.ref} is fault tolerant, and takes no disk: switch that off first")
    if vm.template:
        raise UnsupportedError(f"VM {vm.ref} is a template, and takes no disk: convert it to a VM first")
    if vm.power is PowerState.SUSPENDED:
        raise ConflictError(f"VM {vm.ref} is suspended, and takes no disk: resume it, or shut it down")
    if vm.running and not vm.hot_plug:
        raise ConflictError(
            f"VM {vm.ref} runs, and its advanced setting devices.hotplug keeps it from getting devices meanwhile: shut "
            "it down first, or attach the disks to another VM"
        )


def wanted_slots(disks: Sequence[Disk], request: AttachRequest) -> tuple[SlotRequest, ...]:
    """Return the slots that a request wants.

    :raises UsageError: an address stands for several disks.
    """
    saved = NamedDisks(disks, whose="this request")
    if len(disks) == 1 and len(request.at) == 1 and "=" not in request.at[0]:
        return (SlotRequest(disk=disks[0], address=request.at[0]),)
    asked = take_apart(
        request.at, saved.words, what=_AT, form="DISK=ADDRESS", kind="disk in this request", candidates=saved.listed
    )
    addresses: dict[int, str] = {}
    for word, address in asked.items():
        disk = saved.find(word, what=_AT)
        if addresses.setdefault(disk.key, address) != address:
            raise UsageError(f"{_AT}: {disk.label} is to go to {addresses[disk.key]} and to {address}: choose one")
    return tuple(SlotRequest(disk=disk, address=addresses.get(disk.key)) for disk in disks)
