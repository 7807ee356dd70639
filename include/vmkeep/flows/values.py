"""The values that the steps of a backup and of a restore hand to each other, under Airflow as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from vmkeep.errors import UsageError
from vmkeep.model.audit import SHARE, runs_of
from vmkeep.model.changedown import ChangeDown
from vmkeep.model.disk import Disk
from vmkeep.model.diskrule import parse_disk_rule
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.guest import CommandsRun, GuestCommands
from vmkeep.model.lun import MappedLun
from vmkeep.model.overwrite import BlockChoice, Blocks, Undo, Verify
from vmkeep.model.place import SettledPlace
from vmkeep.model.point import BackupMode, Consistency, Quiesce, VmIdentity
from vmkeep.model.quiescing import QuiesceRequest
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, modes_for_writing, require_some
from vmkeep.model.vmref import VmRef


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """A request to back up one VM, from a person, a policy or the API."""

    vm_selector: str
    """Selects one VM by ``name:``, ``uuid:``, ``moref:`` or ``ipaddr:``; a bare word is a name."""
    run: str
    """Run key. It names the snapshot, the leases and the run's notes."""
    mode: BackupMode = BackupMode.SNAPSHOT_EXCL_MEM
    quiesce: Quiesce = Quiesce.FILE_SYSTEM
    quiesce_required: bool = False
    """Without quiescing there is no backup; else a failure to quiesce only costs consistency."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    include: tuple[str, ...] = ()
    """Rules of the disks to copy (:mod:`vmkeep.model.diskrule`); none: all disks."""
    exclude: tuple[str, ...] = ()
    """Rules of the disks to leave out. They count more than those of the disks to copy."""
    read_luns: tuple[str, ...] = ()
    """Rules of the physical RDMs whose content this proxy reads from their LUNs; none: they are skipped."""
    skipped_is_failure: bool = False
    """A disk that cannot be copied fails the backup, unless the request leaves it out."""
    full: bool = False
    audit: float = SHARE
    """The share of a disk's unchanged blocks that is read and compared with the last point; 0: none, 1: all."""
    guest: GuestCommands | None = None
    """Commands that run in the guest around the snapshot."""
    policy: str | None = None
    """Name of the policy whose window asks for the backup; ``None``: a person does."""
    owner: str = ""
    """Names the program that asked, in words that only that program has to understand.

    The run keeps them as its note ``owner``. A process that finds the run's snapshot later asks by them.
    """

    def __post_init__(self) -> None:
        """Refuse a request without a transport mode, for quiescing or an audit that cannot be, or with a false rule."""
        require_some(self.transports)
        QuiesceRequest(level=self.quiesce, required=self.quiesce_required)
        runs_of(self.audit)
        for rule in (*self.include, *self.exclude, *self.read_luns):
            parse_disk_rule(rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskTransports:
    """The transport modes by which one disk can be read, of those that the request allows."""

    key: int
    """Device key of the disk."""
    modes: tuple[TransportMode, ...]
    """In the request's order."""
    why: str = ""
    """The reasons against the other modes of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """All facts and decisions from before the first change."""

    request: BackupRequest
    vm: VmIdentity
    repository: str | None = None
    """Id of the repository that the point goes into."""
    disks: tuple[Disk, ...]
    """Every disk of the VM. ``skip`` is set for those that are not copied."""
    running: bool
    suspended: bool = False
    tracked: bool
    """Changed block tracking was on already."""
    mode: BackupMode
    quiesce: Quiesce
    changes: tuple[ChangeDown, ...] = ()
    """The changes from the request's mode and quiescing to these."""
    parent: str | None
    """Ref of the point of this very VM that an incremental starts from; ``None``: every disk is read in full."""
    no_parent: str = ""
    """Reason why there is no such point."""
    luns: tuple[MappedLun, ...] = ()
    """The physical RDMs that are read from their LUNs."""
    transports: tuple[DiskTransports, ...] = ()
    """A disk that is not listed is read by the modes of the request."""
    no_parent_reason: FullReason = FullReason.NO_POINT
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotTaken:
    """The snapshot that was taken, and the consistency that it reached."""

    begun: str = ""
    """The try of the run that began with this step."""
    snapshot: str | None
    """Managed object id; ``None`` for a powered-off VM copied as it is."""
    version: str | None = None
    """Without a snapshot: vSphere's ``changeVersion`` of the VM, which shows whether somebody has changed it since."""
    vm: str
    """Managed object id."""
    consistency: Consistency
    quiesced: Quiesce | None = None
    """The quiescing that the snapshot was taken with; ``None``: an older program took it, and did not tell."""
    changes: tuple[ChangeDown, ...] = ()
    """The changes of this step, which come after those of the preflight."""
    guest_commands: CommandsRun | None = None
    """The outcomes of the commands in the guest; ``None``: none were asked for."""
    taken_at: datetime
    """Time by vCenter's clock."""
    attachments: dict[str, str] = field(default_factory=dict)
    """Map roots of the VM's configuration files, by the name of the file in the point."""
    attachment_sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each of these files, by the same names."""
    luns: dict[str, str] = field(default_factory=dict)
    """The answer of the array hook: canonical names of LUNs, and of the LUNs that hold the array's snapshot of them."""
    untracked: FullRead | None = None
    """The reason why change tracking stays off; ``None``: it is on, or nobody tried to switch it on."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The restore point that a backup made, with its counts."""

    point: str
    """The point's ref."""
    vm: str
    """Display name."""
    kind: str
    consistency: str
    """The consistency that was reached."""
    mode_asked: str = ""
    mode_used: str = ""
    quiesce_asked: str = ""
    """The request as a person writes it, e.g. ``required``."""
    quiesce_used: str = ""
    changes: tuple[ChangeDown, ...] = ()
    """The changes from what was asked for to what was used, with their reasons."""
    disks_copied: int
    disks_skipped: int
    bytes_read: int
    bytes_stored: int
    full_reads: dict[str, int] = field(default_factory=dict)
    """Number of disks that were read in full, by ``FullReason``."""
    transports: tuple[str, ...] = ()
    """The transport modes that VDDK used."""
    bytes_audited: int = 0
    """Bytes that were read although they had not changed, and were compared with the last point."""
    lies: int = 0
    """Number of blocks that had changed, although vSphere said that they had not."""
    suspects: tuple[str, ...] = ()
    """Refs of earlier points that were marked as suspect, because they may lack such changes."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """The outcome of the clean-up after a backup."""

    snapshots_removed: int
    consolidated: bool
    """No snapshot was left to remove, but the VM's disks still had to be merged."""
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
    """A small empty virtual disk."""
    LUN = "lun"
    """A free LUN, named for each RDM. Nothing is written to it."""
    DISK = "disk"
    """An ordinary disk of the LUN's size. It gets the LUN's content, if the backup read that; else it is empty."""
    OMIT = "omit"
    """No disk."""


class OnConflict(StrEnum):
    """The action if the target VM exists already."""

    ABORT = "abort"
    """Refuse the restore."""
    OVERWRITE = "overwrite"
    """Write over its disks."""
    KEEP = "keep"
    """Leave the VM as it is, and succeed."""
    PROMPT = "prompt"
    """Ask a person. The caller asks, and then plans with one of the other values."""


_NAMES = (
    "vm_selector", "new_name", "datastore", "folder", "resource_pool", "host", "log_directory", "suspend_directory",
)  # fmt: skip
"""Fields of a :class:`RestoreRequest` that are left out or name something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRequest:
    """A request to restore one point over an existing VM or to a new VM."""

    point: str
    """Ref, unique beginning of an id, or ``latest:<VM name>``."""
    run: str
    vm_selector: str | None = None
    """Selector of the existing VM to restore over; ``None`` without ``new_name``: the original VM and no other."""
    new_name: str | None = None
    """Name of the new VM to create instead."""
    on_conflict: OnConflict = OnConflict.ABORT
    """The disks of an existing VM are written only with ``overwrite``."""
    physical_rdm: PhysicalRdm = PhysicalRdm.PLACEHOLDER
    datastore: str | None = None
    folder: str | None = None
    resource_pool: str | None = None
    host: str | None = None
    networks: tuple[str, ...] = ()
    """Options ``OLD=NEW``: OLD is a saved card's label or its network, NEW the new card's network or ``none``."""
    disk_datastores: tuple[str, ...] = ()
    """Options ``DISK=DATASTORE``: DISK is a saved disk's address (``scsi0:1``), label or device key."""
    luns: tuple[str, ...] = ()
    """Options ``DISK=LUN``: the free LUN that replaces a saved physical RDM. Nothing is written to it."""
    disks: tuple[str, ...] = ()
    """The disks of the point to write over an existing VM's; empty: all. A saved disk's address, label or key."""
    disk_map: tuple[str, ...] = ()
    """Options ``SAVED=TARGET``: the disk of the existing VM that a saved disk goes onto, where matching is not safe."""
    rdms: tuple[str, ...] = ()
    """Options ``DISK=REPLACEMENT``: the replacement of one saved physical RDM, a word of :class:`PhysicalRdm`."""
    log_directory: str | None = None
    """An existing folder for a new VM's logs, ``[datastore] folder``; ``None``: beside the VM's own files."""
    suspend_directory: str | None = None
    """An existing folder for a new VM's memory while it is suspended, as for its logs."""
    mapping: str = ""
    """Text of a mapping; see :mod:`vmkeep.mapping`. A plan's request holds its values instead."""
    connect_networks: bool = False
    """Connect a new VM's network cards as saved, even if the original runs beside it."""
    power_on: bool | None = None
    """Switch the VM on at the end; ``None``: if it ran when it was backed up."""
    keep_identity: bool = False
    """A new VM keeps the saved UUIDs and MAC addresses. Otherwise it gets new ones, and can run beside the original."""
    drill: str = ""
    """The mark of the drill that a new VM is made for; empty: it is made to stay."""
    transports: tuple[TransportMode, ...] = DEFAULT_MODES
    all_blocks: bool = False
    """Write every block over an existing VM, also those that did not change since the point."""
    verify: Verify = Verify.SAMPLE
    undo: Undo = Undo.NONE
    dry_run: bool = False
    """Only make the plan. It cannot be carried out."""
    owner: str = ""
    """Names the program that asked; see :attr:`BackupRequest.owner`."""

    def __post_init__(self) -> None:
        """Refuse empty names, as an unset variable in a script gives them, and modes that cannot write."""
        modes_for_writing(self.transports)
        for field_name in _NAMES:
            if getattr(self, field_name) == "":
                raise UsageError(
                    f"{field_name.removesuffix('_selector').replace('_', ' ')} is empty: leave it out, or give a name"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMatch:
    """A disk of the point, and its target disk."""

    disk: Disk
    target_key: int | None
    """Device key of the disk on an existing VM; ``None``: the disk is created with a new VM, or not written."""
    written: bool
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRestore:
    """A VM that still carries the mark of a dead restore."""

    vm: str
    """Managed object id."""
    run: str
    made: bool
    """The restore made the VM, which is half made; else the restore was writing over it."""
    whole: bool = False
    """The restore had ended well, and only its mark came back, with a snapshot. Nothing is half written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorePlan:
    """The plan of a restore, decided and checked before the first change. The plan that is shown is carried out."""

    request: RestoreRequest
    point: str
    """Ref."""
    vm: VmIdentity
    """The VM that was backed up."""
    vcenter: str | None
    """Instance UUID of the vCenter that the plan is for; ``None``: an ESXi host."""
    target: VmIdentity | None
    """The existing VM that is written over; ``None``: a new VM is created."""
    target_disks: tuple[Disk, ...] = ()
    """All disks of the existing VM."""
    target_name: str
    place: SettledPlace | None = None
    """The place of a new VM; ``None``: an existing VM is written over."""
    original_runs: bool = False
    """The original VM was running, in the same vCenter, when the plan was made."""
    matches: tuple[DiskMatch, ...]
    choices: tuple[BlockChoice, ...] = ()
    """The blocks to write of each disk of an existing VM, as far as that is known while the VM may still run."""
    dead: DeadRestore | None = None
    """A dead restore to the same target. It is ended first, and its half-made VM removed."""
    power_on: bool = False
    """The VM is switched on at the end."""
    template: bool = False
    """The new VM becomes a template at the end, as the saved one was."""
    nvram: bool = True
    """The NVRAM is put back, if the point holds it."""
    warnings: tuple[str, ...] = ()
    nothing_to_do: bool = False
    """The VM exists, and ``keep`` was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A VM that is ready for the disks: powered off, and marked by the run that made it ready."""

    vm: str
    """Managed object id."""
    run: str
    """The run that made it ready."""
    created: bool
    """The run created the VM; else the VM existed before."""
    choices: tuple[BlockChoice, ...] = ()
    """The blocks to write of each disk of an existing VM."""
    undo: str | None = None
    """Managed object id of the snapshot that is kept to undo the restore."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenDisk:
    """The outcome of a restore for one disk."""

    label: str
    address: str
    blocks: Blocks
    why_blocks: str
    """The reason for these blocks; empty: the disk is new."""
    bytes_written: int
    bytes_zeroed: int
    bytes_compared: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """The outcome of a restore, with its counts."""

    run: str
    """The run that made the VM ready; empty: there was nothing to do."""
    vm: VmRef
    point: str
    created: bool
    powered_on: bool
    disks_written: int
    bytes_written: int
    bytes_zeroed: int
    disks: tuple[WrittenDisk, ...] = ()
    undo: str | None = None
    """Managed object id of the snapshot that is kept to undo the restore."""
    warnings: tuple[str, ...] = ()
    kept: bool = False
    """The target existed and was kept, as was asked. Nothing was restored."""
