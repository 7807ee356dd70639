"""A backup policy: which VMs are backed up, when, how, and how long their restore points stay."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ImageFormat
from vmkeep.model.guest import GuestCommands
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import BackupMode
from vmkeep.model.transport import TransportMode
from vmkeep.policy.verification import Verification
from vmkeep.policy.window import Window
from vmkeep.retention import RetentionRule
from vmkeep.selection import Selector


class QuiesceWish(StrEnum):
    """The wish of a policy for flushing the guest before the snapshot."""

    REQUIRED = "required"
    """There is no backup if the guest cannot be flushed."""
    PREFERRED = "preferred"
    OFF = "off"


class AtEnd(StrEnum):
    """The end of backups that still run when the window closes."""

    FINISH = "finish"
    STOP = "stop"


class NotifyWhen(StrEnum):
    """The windows about which people are notified."""

    ALWAYS = "always"
    PROBLEMS = "problems"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskPattern:
    """A description of disks. A disk fits if all given fields are true of it."""

    unit: str | None = None
    label: str | None = None
    larger_than: int | None = None
    smaller_than: int | None = None
    datastore: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskRules:
    """The disks that are copied."""

    include: tuple[DiskPattern, ...] = ()
    """The disks to copy; empty: all disks."""
    exclude: tuple[DiskPattern, ...] = ()
    read_luns: tuple[DiskPattern, ...] = ()
    """The physical RDMs whose content is read from their LUNs; empty: none."""
    skipped_is_failure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyExport:
    """A place that gets the disks of each VM as files after its backup."""

    out: str
    """Folder of each proxy, or ``s3://bucket/prefix``."""
    format: ImageFormat
    verify: Verify


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityWishes:
    """The weight of findings about the policy's VMs in checks of data quality."""

    fail: frozenset[str] = frozenset()
    """Ids of expectations that fail the check."""
    warn: frozenset[str] = frozenset()
    """Ids of expectations that only warn."""
    snapshots_within: timedelta = timedelta(days=3)
    """The age from which a snapshot of a VM is a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """The people to notify about a window."""

    when: NotifyWhen
    to: tuple[str, ...] = ()
    """Addresses of mail."""
    notifiers: tuple[str, ...] = ()
    """Names of notifiers of the Airflow that runs the policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy, read from its file and checked."""

    name: str
    description: str
    owner: str
    vsphere: str
    """Airflow connection."""
    selection: Selector
    exclusions: tuple[Selector, ...]
    priority: int
    """The policy with the greatest takes a VM that several select; among equal ones, the first by name does."""
    window: Window
    at_end: AtEnd
    catch_up: bool
    mode: BackupMode
    quiesce: QuiesceWish
    guest: GuestCommands | None
    """Commands that run in the guest around the snapshot. Their login is an Airflow connection."""
    transports: tuple[TransportMode, ...]
    disks: DiskRules
    repository: str
    """Airflow connection."""
    copies: tuple[str, ...]
    """Airflow connections."""
    exports: tuple[PolicyExport, ...]
    retention: RetentionRule | None
    """The rule for its points; ``None``: that of the repository's connection counts."""
    max_age: timedelta | None
    """The age from which a VM's newest good point is an alarm; ``None``: no age is."""
    sample: float
    """Share of a new point's data that is verified after the backup."""
    audit: float
    """Share of the unchanged data that is read and compared with the last point."""
    verification: Verification
    backups_at_once: int
    quality: QualityWishes
    notifications: Notifications
