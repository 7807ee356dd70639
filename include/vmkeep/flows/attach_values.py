"""Values of the steps that attach disks of a restore point to a VM as new disks."""

from __future__ import annotations

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk
from vmkeep.model.point import VmIdentity
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, modes_without_snapshot
from vmkeep.model.vmref import VmRef
from vmkeep.vsphere.carriers import CarrierPlan
from vmkeep.vsphere.slots import Slot, SlotRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachRequest:
    """A request to attach disks of one restore point to an existing VM as new disks."""

    point: str
    """Ref, unique beginning of an id, or ``latest:<VM name>``."""
    run: str
    disks: tuple[str, ...]
    """Saved disks, each by its address, label or device key."""
    vm_selector: str
    """The VM that gets the disks."""
    at: tuple[str, ...] = ()
    """``ADDRESS`` for a single disk, or options ``DISK=ADDRESS``. Another disk gets a free unit that fits."""
    datastore: str | None = None
    """Name of the datastore for the new disks; ``None``: that of the VM's own files."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    owner: str = ""
    """Names the program that asked; see :attr:`vmkeep.flows.backup_values.BackupRequest.owner`."""

    def __post_init__(self) -> None:
        """Refuse empty names, as an unset variable in a script gives them, and modes that cannot write."""
        modes_without_snapshot(self.transports)
        if not self.disks or not all(self.disks):
            raise UsageError("no disk is named: name at least one disk of the restore point, e.g. scsi0:1")
        if not self.vm_selector:
            raise UsageError("the VM that gets the disks is not named")
        if self.datastore == "":
            raise UsageError("datastore is empty: leave it out, or give a name")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPlan:
    """The decisions about new disks, made and checked before the first change."""

    request: AttachRequest
    point: str
    """Ref."""
    vm: VmIdentity
    """The VM that was backed up."""
    vcenter: str | None
    """Instance UUID of the vCenter that the plan is for; ``None``: an ESXi host."""
    target: VmIdentity
    """The VM that gets the disks."""
    running: bool
    """It was running when the plan was made."""
    disks: tuple[Disk, ...]
    """The saved disks, in the order of the request."""
    wanted: tuple[SlotRequest, ...]
    """The slot that is wanted for each of them."""
    slots: tuple[Slot, ...]
    """The slot that each of them gets, unless somebody else takes it meanwhile."""
    carrier: CarrierPlan
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedAs:
    """A disk of the point, and the new disk."""

    disk: str
    """Label of the saved disk."""
    address: str
    """Address of the new disk."""
    file_name: str
    capacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The outcome: the new disks of the VM, and counts."""

    run: str
    vm: VmRef
    vcenter: str | None = None
    """Instance UUID of the VM's vCenter; ``None``: an ESXi host."""
    point: str
    disks: tuple[AttachedAs, ...]
    bytes_written: int
    bytes_compared: int
    """Bytes that were read back from the new disks, and match."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachPreview:
    """The plan in words, for a run that only plans."""

    lines: tuple[str, ...]
    """One line for each thing that the plan decides."""
    warnings: tuple[str, ...]
    dry_run: bool = True
    """Nothing was changed."""
