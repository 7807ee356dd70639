"""The values that the steps of a backup hand to each other, under Airflow as JSON."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.model.audit import SHARE, runs_of
from vmkeep.model.changedown import ChangeDown
from vmkeep.model.disk import Disk
from vmkeep.model.diskrule import parse_disk_rule
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.guest import CommandsRun, GuestCommands
from vmkeep.model.lun import MappedLun
from vmkeep.model.point import BackupMode, Consistency, Quiesce, VmIdentity
from vmkeep.model.quiescing import QuiesceRequest
from vmkeep.model.transport import DEFAULT_MODES, TransportMode, require_some


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
    half_written: str = ""
    """The sentence about a restore that has left the disks partly written, so that the point is marked suspect."""
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
    half_written: str = ""
    """As in the preflight, of a restore that has begun and failed since then."""
    held: bool = False
    """vCenter lets nobody move the VM to another datastore until the run ends."""
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

    @property
    def is_whole(self) -> bool:
        """Whether this call has removed the run's snapshot, and nothing of the run is left on the VM."""
        return self.snapshots_removed > 0 and not self.warnings


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of a verification."""

    point: str
    blocks_checked: int
    bytes_checked: int
    seconds: float
