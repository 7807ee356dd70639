"""A machine that a file describes, with the names of the files of its disks."""

from __future__ import annotations

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind
from vmkeep.model.portable import PortableMachine

SCSI_TYPES = {
    "lsilogic": "VirtualLsiLogicController",
    "lsilogicsas": "VirtualLsiLogicSASController",
    "lsisas1068": "VirtualLsiLogicSASController",
    "buslogic": "VirtualBusLogicController",
    "virtualscsi": "ParaVirtualSCSIController",
    "pvscsi": "ParaVirtualSCSIController",
}
"""vSphere's types of SCSI controllers, by their names in OVF and ``.vmx`` files."""
CARD_MODELS = {"vmxnet3", "vmxnet2", "vmxnet", "e1000", "e1000e", "pcnet32", "vlance", "flexible"}
"""Models of network cards that vSphere has."""
_TYPES = {
    ControllerKind.IDE: "VirtualIDEController",
    ControllerKind.SATA: "VirtualAHCIController",
    ControllerKind.NVME: "VirtualNVMEController",
}
FIRST_KEY = 2000
"""Device key of the first disk."""

LONGEST_TEXT = 10_000
"""Most characters of a text that is taken over, such as an annotation."""
_MOST_NUMBER = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFile:
    """The file of one disk of a described machine."""

    key: int
    """The disk's device key in the machine."""
    name: str
    """The file's name as the description has it."""
    format: str = ""
    """The description's word for the format; empty: it has none."""
    compressed: bool = False
    """The file as a whole is compressed."""
    capacity: int | None = None
    """Bytes of the disk by the description; ``None``: it does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedMachine:
    """The content of a description."""

    machine: PortableMachine
    """Its disks have the capacities that the description tells, or 0."""
    files: tuple[DiskFile, ...]
    nvram: str = ""
    """Name of the file with the firmware's own memory; empty: none is named."""
    files_named: tuple[str, ...] = ()
    """Names of all files that an OVF lists; ``left_out`` names those that are not read."""


def controller_type(kind: ControllerKind, name: str) -> str:
    """Return vSphere's type of a controller.

    :param name: the name of a SCSI controller's type in the description; an unknown one is taken for LSI Logic.
    """
    return _TYPES.get(kind) or SCSI_TYPES.get(name.lower(), SCSI_TYPES["lsilogic"])


def card_model(name: str) -> str:
    """Return the model of a network card, by its name in a description."""
    return name.lower().removeprefix("virtual")


def number(where: str, text: str, usual: int | None = None) -> int:
    """Parse a whole number from 0 up.

    :raises UsageError: the text is none, or absurd.
    """
    if not text.strip() and usual is not None:
        return usual
    plain = text.strip()
    if not plain.isascii() or not plain.isdigit() or len(plain) > 20 or int(plain) > _MOST_NUMBER:
        raise UsageError(f"{where} is '{plain[:60]}', which is no number")
    return int(plain)


def require_sensible(name: str, machine: PortableMachine) -> None:
    """Return if a machine has processors and memory that some hypervisor has.

    :raises UsageError: it has not.
    """
    if not 1 <= machine.cpus <= 4096:
        raise UsageError(f"{name}: a machine of {machine.cpus} processors cannot be")
    if not 4 <= machine.memory_mib <= 64 << 20:
        raise UsageError(f"{name}: a machine of {machine.memory_mib} MiB of memory cannot be")
    addresses = [(disk.controller, disk.bus, disk.unit) for disk in machine.disks]
    if len(set(addresses)) != len(addresses):
        raise UsageError(f"{name}: two disks have one address")
