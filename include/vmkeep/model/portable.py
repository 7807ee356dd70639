"""A machine in words that every hypervisor knows.

A saved VM, an OVF file and a Workstation ``.vmx`` file are read into it. OVF files, libvirt domains, Proxmox commands,
OpenStack properties, a QEMU command line and new saved VMs are made from it. Whatever has no place in it is named in
``left_out``, so that no description loses a part silently.
"""

from __future__ import annotations

from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind


class Firmware(StrEnum):
    """The program that starts the machine's system."""

    BIOS = "bios"
    EFI = "efi"


class Hypervisor(StrEnum):
    """A hypervisor, or a cloud of one, that a machine is described for."""

    LIBVIRT = "libvirt"
    PROXMOX = "proxmox"
    OPENSTACK = "openstack"


class Drivers(StrEnum):
    """The kind of devices that the new machine offers its guest."""

    VIRTIO = "virtio"
    """Fast ones, for which the guest needs drivers of its own."""
    SAFE = "safe"
    """Ones that nearly every system has a driver for, as SATA disks and Intel network cards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortableDisk:
    """A disk of the machine, at the address where the guest sees it."""

    label: str
    controller: ControllerKind
    controller_type: str
    """vSphere's type of the controller, e.g. ``ParaVirtualSCSIController`` or ``VirtualLsiLogicController``."""
    bus: int
    unit: int
    capacity: int
    """Bytes."""
    key: int
    """The disk's device key in its restore point."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortableCard:
    """A network card of the machine."""

    label: str
    model: str
    """vSphere's type of the card without its prefix, in lower case, e.g. ``vmxnet3``, ``e1000`` or ``e1000e``."""
    mac: str | None
    network: str
    """Name of the network that it was on; empty: not known."""
    connected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A part of the saved machine that the description has no place for."""

    part: str
    """Name of the part, e.g. ``vTPM`` or ``Hard disk 3 (RDM)``."""
    why: str
    """The meaning of its loss, and the remedy if there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortableMachine:
    """The machine that a restore point holds, or that an import describes."""

    name: str
    cpus: int
    cores_per_socket: int = 1
    memory_mib: int
    firmware: Firmware = Firmware.BIOS
    secure_boot: bool = False
    guest_id: str = "otherGuest64"
    """vSphere's id of the guest system, e.g. ``debian12_64Guest``."""
    guest_name: str = ""
    hardware_version: int | None = None
    """Number of vSphere's virtual hardware, e.g. 19."""
    bios_uuid: str | None = None
    annotation: str = ""
    disks: tuple[PortableDisk, ...] = ()
    cards: tuple[PortableCard, ...] = ()
    boot_disk: int | None = None
    """Device key of the disk that the machine starts from; ``None``: the first one by address."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def disks_in_boot_order(self) -> tuple[PortableDisk, ...]:
        """The disk that the machine starts from first, the others by address."""
        kinds = list(ControllerKind)
        return tuple(
            sorted(
                self.disks,
                key=lambda disk: (disk.key != self.boot_disk, kinds.index(disk.controller), disk.bus, disk.unit),
            )
        )
