"""The values that the steps of a backup and of a restore hand to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.model.disk import Disk
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import BackupMode, Consistency, Quiesce, VmIdentity
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, modes_for_writing, require_some
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """The request of a person, a policy or the API."""

    vm_selector: str
    """``name:``, ``uuid:``, ``moref:`` or ``ipaddr:`` selector; a bare word is a name."""
    run: str
    """Run key: names the snapshot, the leases and the run's blobs."""
    mode: BackupMode = BackupMode.SNAPSHOT_EXCL_MEM
    quiesce: Quiesce = Quiesce.FILE_SYSTEM
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    exclude: tuple[str, ...] = ()
    """Disks to leave out, by address (``scsi0:1``), label or device key."""
    full: bool = False
    owner: str = ""
    """The asker, in words that only it has to understand. The run keeps them as its note ``owner``, for a process that
    finds its snapshot one day."""

    def __post_init__(self) -> None:
        """Refuse a request without a transport mode."""
        require_some(self.transports)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """The facts and decisions before anything is changed."""

    request: BackupRequest
    vm: VmIdentity
    repository: str | None = None
    """Id of the one that the point goes into."""
    disks: tuple[Disk, ...]
    """Every disk of the VM, with ``skip`` set where it is not copied."""
    running: bool
    suspended: bool = False
    tracked: bool
    """Changed block tracking is on already."""
    mode: BackupMode
    quiesce: Quiesce
    parent: str | None
    """Restore point of this very VM that an incremental starts from."""
    no_parent: str = ""
    """Why there is none."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """The VM, held still: the snapshot and what it really reached."""

    begun: str = ""
    """The try of the run that began with this."""
    snapshot: str | None
    """Managed object id; ``None`` for a powered-off VM copied as it is."""
    version: str | None = None
    """Without a snapshot: the version of the VM's configuration, which tells whether somebody has changed it since."""
    vm: str
    consistency: Consistency
    taken_at: datetime
    attachments: dict[str, str] = field(default_factory=dict)
    """Name → map root of the VM's configuration files, stored with the snapshot's time."""
    attachment_sizes: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The restore point a backup made, in numbers."""

    point: str
    """Its ref in the repository."""
    vm: str
    kind: str
    consistency: str
    disks_copied: int
    disks_skipped: int
    bytes_read: int
    bytes_stored: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The outcome of the clean-up behind a run."""

    snapshots_removed: int
    consolidated: bool
    copies_fenced: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of a verification."""

    point: str
    blocks_checked: int
    bytes_checked: int
    seconds: float


class PhysicalRdm(StrEnum):
    """The replacement of a physical-mode RDM in a new VM."""

    PLACEHOLDER = "placeholder"
    LUN = "lun"
    OMIT = "omit"


class OnConflict(StrEnum):
    """The action where the target exists already."""

    ABORT = "abort"
    OVERWRITE = "overwrite"
    KEEP = "keep"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """The request of a restore: which point goes where."""

    point: str
    """Ref, unique beginning of an id, or ``latest:<VM name>``."""
    run: str
    vm_selector: str | None = None
    """Selector of an existing VM to restore over; ``None`` with no ``new_name``: the original VM and no other."""
    new_name: str | None = None
    """Create a VM of this name instead."""
    on_conflict: OnConflict = OnConflict.ABORT
    """``overwrite`` has to be said before the disks of an existing VM are written."""
    physical_rdm: PhysicalRdm = PhysicalRdm.PLACEHOLDER
    datastore: str | None = None
    folder: str | None = None
    resource_pool: str | None = None
    host: str | None = None
    networks: tuple[str, ...] = ()
    """``OLD=NEW``: a saved network card's label or its network's name, and the network of the new VM's card, or
    ``none``."""
    disk_datastores: tuple[str, ...] = ()
    """``DISK=DATASTORE``: a saved disk's address (``scsi0:1``), label or device key."""
    luns: tuple[str, ...] = ()
    """``DISK=LUN``: a physical RDM, and the free LUN that the new VM's one is mapped to. Nothing is written to it."""
    connect_networks: bool = False
    """Connect a new VM's network cards as saved also where the original runs beside it."""
    power_on: bool | None = None
    """``None``: as the VM was when it was backed up. One that was off or suspended stays off."""
    keep_identity: bool = False
    """A new VM gets new UUIDs and MAC addresses, so that it can run beside the original."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    owner: str = ""
    """The asker, in words that only it has to understand; the run keeps them as its note ``owner``."""

    def __post_init__(self) -> None:
        """Refuse names that are empty, as an unset variable in a script gives them, and modes that cannot write."""
        modes_for_writing(self.transports)
        for field_name in ("vm_selector", "new_name", "datastore", "folder", "resource_pool", "host"):
            if getattr(self, field_name) == "":
                raise UsageError(
                    f"{field_name.removesuffix('_selector').replace('_', ' ')} is empty: leave it out, or give a name"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMatch:
    """A disk of the point, and the place it goes to."""

    disk: Disk
    target_key: int | None
    """Device key on an existing VM; ``None``: created with the new VM, or not written."""
    written: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRestore:
    """A VM that a restore has marked and, dead now, did not let go."""

    vm: str
    """Managed object id."""
    run: str
    made: bool
    """The restore made the VM, which is half made; else it was writing over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """The plan of a restore, decided and checked before the first change. The plan that is shown is executed."""

    request: RestoreRequest
    point: str
    vm: VmIdentity
    """The VM that was backed up."""
    vcenter: str | None
    """Instance UUID of the vCenter that the plan is for; ``None``: an ESXi host."""
    target: VmIdentity | None
    """The existing VM that is written over; ``None``: a new one is created."""
    target_disks: tuple[Disk, ...] = ()
    """All disks of the existing VM."""
    target_name: str
    place: SettledPlace | None = None
    """The place of a new VM."""
    original_runs: bool = False
    """The original VM was seen running beside the new one."""
    matches: tuple[DiskMatch, ...]
    dead: DeadRestore | None = None
    """An earlier restore to the same place that is cleared away first."""
    power_on: bool = False
    """The VM is switched on at the end."""
    template: bool = False
    """The new VM becomes a template at the end, as the saved one was."""
    nvram: bool = True
    """The NVRAM that the point may hold is put back."""
    warnings: tuple[str, ...] = ()
    nothing_to_do: bool = False
    """``keep`` met an existing VM."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The VM that is ready to be written, powered off, and marked by the run that made it ready."""

    vm: str
    run: str
    created: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The end of a restore, in numbers."""

    run: str
    """The run that made the VM ready; empty where there was nothing to do."""
    vm: VmRef
    point: str
    created: bool
    powered_on: bool
    disks_written: int
    bytes_written: int
    bytes_zeroed: int
    warnings: tuple[str, ...] = ()
    kept: bool = False
    """The target existed and was left as it was, as asked; nothing was restored."""
