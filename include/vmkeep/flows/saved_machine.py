"""Describes the VM of a restore point in words that every hypervisor knows."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.errors import UsageError
from vmkeep.flows.restore_saved import load_saved, require_vm
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import LeftOut, PortableDisk, PortableMachine
from vmkeep.repository import Repository
from vmkeep.vsphere.configspec import parse_config
from vmkeep.vsphere.portable import portable_machine

_MEMORY_MIB = 2048
_CPUS = 2


def is_of_a_machine(point: RestorePoint) -> bool:
    """Return whether a VM can be made of a point: it has a machine's configuration, and is none of a host."""
    try:
        require_vm(point)
    except UsageError:
        return False
    return True


def saved_machine(repository: Repository, point: RestorePoint) -> PortableMachine:
    """Return the machine of a point. A point of bare images has usual hardware, and the parts left out say so.

    :raises UsageError: the point holds a host's configuration.
    :raises CorruptError: the saved configuration is damaged.
    """
    if point.host is not None:
        raise UsageError(f"{point.ref} holds the configuration of the ESXi host {point.vm.name}, and no machine")
    if "config.xml" not in point.attachments:
        return _of_images(point)
    saved = load_saved(repository, point)
    machine = portable_machine(parse_config(saved.config), point, saved.origin)
    at_import = tuple(LeftOut(part="At the import", why=note) for note in point.warnings if point.vm.is_imported)
    return replace(machine, left_out=(*machine.left_out, *at_import))


def _of_images(point: RestorePoint) -> PortableMachine:
    disks = [image.disk for image in sorted(point.images, key=lambda image: image.disk.key)]
    return PortableMachine(
        name=point.vm.name,
        cpus=_CPUS,
        memory_mib=_MEMORY_MIB,
        disks=tuple(
            PortableDisk(
                label=disk.label,
                controller=disk.controller,
                controller_type=disk.controller_type,
                bus=disk.bus,
                unit=disk.unit,
                capacity=disk.capacity,
                key=disk.key,
            )
            for disk in disks
        ),
        left_out=(
            LeftOut(
                part="Settings of the machine",
                why=f"the restore point was made of images alone: it gets {_CPUS} CPUs, {_MEMORY_MIB} MiB, a BIOS and "
                "no network card: change the new machine as its guest needs it",
            ),
        ),
    )
