"""The answers of the overview: VMs, points and the notes about them, as a page gets them."""

from __future__ import annotations

from datetime import datetime

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedMark:
    """A mark of a restore point: ``damaged``, ``suspect`` or ``pinned``."""

    ref: str
    kind: str
    reason: str
    until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedProof:
    """The newest proof of one kind of a restore point."""

    ref: str
    kind: str
    result: str
    at: int
    has_picture: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedVm:
    """A VM as it was last looked at; see :class:`NotedVmRow`."""

    vm: str
    name: str
    policy: str
    asked: bool
    obstacle: str | None = None
    ref: str | None = None
    proved: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedRepository:
    """A repository whose points the catalog has."""

    repository: str
    location: str | None
    """``None``: it was never looked at."""
    at: datetime | None
    """The time of the last look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadPoint:
    """A point that is not good, with everything that is known against it."""

    ref: str
    at: datetime
    faults: tuple[str, ...]
    """Marks (``damaged``, ``suspect``), and kinds of checks that it has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSummary:
    """The points of one VM in one repository, in numbers."""

    repository: str
    vm_key: str
    vm_name: str
    policy: str
    """The policy that asked for the newest point; empty: none did."""
    points: int
    capacity: int
    """Bytes of the disks in the newest good point."""
    bytes_stored: int
    """Bytes that all its points have added to the repository."""
    ref: str | None
    """The newest good point; ``None``: no point is good."""
    newest: datetime | None
    bad: int
    """Number of points that are damaged or suspect, or have failed a check."""
    newest_bad: BadPoint | None
    told_by: str
    """The point that name, policy and capacity are of: the newest good one, or else the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDisk:
    """A disk of a restore point."""

    key: int
    label: str
    address: str
    capacity: int
    backing: str
    skipped: str | None
    kind: str | None
    reason: str | None
    full_reason: str | None
    bytes_read: int
    bytes_stored: int
    tracked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedPoint:
    """A restore point with everything that the catalog knows of it."""

    repository: str
    ref: str
    id: str
    vm_key: str
    vm_name: str
    taken_at: datetime
    run: str
    policy: str
    kind: str
    consistency: str
    capacity: int
    bytes_read: int
    bytes_stored: int
    seconds: float | None
    """Seconds of the longest copy."""
    warnings: int
    vcenter: str | None
    moref: str | None
    inventory_path: str | None
    server: str | None
    addresses: tuple[str, ...]
    dns_name: str | None
    disks: tuple[ListedDisk, ...]
    marks: tuple[NotedMark, ...]
    proofs: tuple[NotedProof, ...]
