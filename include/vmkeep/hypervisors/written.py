"""The files that a description of a machine refers to, and names that other programs take."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field

from vmkeep.hypervisors.guests import usual_drivers
from vmkeep.lateclass import dataclass
from vmkeep.model.portable import Drivers, LeftOut, PortableDisk, PortableMachine


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDisk:
    """A disk of a machine, as a file."""

    key: int
    """The disk's device key in its restore point."""
    name: str
    """Name of the file in the folder of the description."""
    size: int
    """Bytes of the file."""
    format: str = "qcow2"
    """The format's name as QEMU has it: ``qcow2`` or ``raw``."""
    populated: int = 0
    """Bytes of the disk that hold data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The choices of a person for the new machine."""

    drivers: Drivers | None = None
    """``None``: those that the guest surely has."""
    converted: bool = False
    """The guest was made ready for its new devices by virt-v2v."""
    networks: Mapping[str, str] = field(default_factory=dict)
    """Name of a network in vSphere → the network, or the bridge, that its cards are put on."""
    folder: str = ""
    """Absolute path of the folder with the files; empty: it is not on this machine."""

    def drivers_of(self, machine: PortableMachine) -> Drivers:
        """Return the kind of devices for a machine."""
        return self.drivers or usual_drivers(machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOfDisk:
    """A disk of the machine with its file."""

    disk: PortableDisk
    file: WrittenDisk


def in_boot_order(machine: PortableMachine, files: Sequence[WrittenDisk]) -> list[FileOfDisk]:
    """Return the disks that were written: the one that the machine starts from first, the others by address."""
    by_key = {file.key: file for file in files}
    return [FileOfDisk(disk=disk, file=by_key[disk.key]) for disk in machine.disks_in_boot_order if disk.key in by_key]


def not_written(machine: PortableMachine, files: Sequence[WrittenDisk]) -> Iterator[LeftOut]:
    """Yield the disks of a machine that have no file, because the export was asked for other disks."""
    keys = {file.key for file in files}
    for disk in machine.disks:
        if disk.key not in keys:
            where = f"{disk.controller}{disk.bus}:{disk.unit}"
            yield LeftOut(part=f"{disk.label} ({where})", why="the export was asked for other disks only")


def host_name(text: str, longest: int = 63) -> str:
    """Return a text as a name of letters, digits and hyphens, which every program takes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9]+", "-", plain).strip("-")[:longest].strip("-") or "vm"


def one_line(text: str) -> str:
    """Return a text without line breaks and other control characters, for a place that takes one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
