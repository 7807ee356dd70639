"""The tables in which one check of data quality lays its evidence beside the points, so that SQL can compare both.

They are no part of the cache. Every row belongs to one check, which deletes its rows when it ends; rows that a dead
check has left are deleted by a later one. All times are seconds since 1970, and all ages are seconds, because each
database calculates with times in a way of its own.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Evidence(DeclarativeBase):
    """Base of these tables, apart from the catalog's own, because only a check of data quality needs them."""

    metadata = MetaData()


class CheckRow(Evidence):
    """A check that runs."""

    __tablename__ = "vmkeep_check"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    repository: Mapped[str] = mapped_column(String(64))
    began: Mapped[int] = mapped_column(BigInteger)


class PolicyEvidence(Evidence):
    """The demands of a policy on its VMs and their points."""

    __tablename__ = "vmkeep_check_policy"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    max_age: Mapped[int | None] = mapped_column(BigInteger)
    proved_within: Mapped[int | None] = mapped_column(BigInteger)
    snapshots_within: Mapped[int] = mapped_column(BigInteger)
    forbids_skipped: Mapped[bool] = mapped_column(Boolean)


class SeverityEvidence(Evidence):
    """The severity that a policy gives to an expectation."""

    __tablename__ = "vmkeep_check_severity"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    expectation: Mapped[str] = mapped_column(String(40), primary_key=True)
    policy: Mapped[str] = mapped_column(String(60), primary_key=True)
    severity: Mapped[str] = mapped_column(String(10))


class VmEvidence(Evidence):
    """A VM of a vCenter; or, if no vCenter was asked, a VM whose newest point names a policy."""

    __tablename__ = "vmkeep_check_vm"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    vm: Mapped[str] = mapped_column(String(190), primary_key=True)
    """The vCenter's host and the managed object id, or the VM's key."""
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    """The policy that has the VM; empty: none has it."""
    asked: Mapped[bool] = mapped_column(Boolean)
    """A vCenter has told of the VM just now."""
    obstacle: Mapped[str | None] = mapped_column(Text)
    """The reason why the VM cannot be backed up; ``None``: it can."""
    ref: Mapped[str | None] = mapped_column(String(255))
    """Its newest good point; ``None``: it has none."""
    newest: Mapped[int | None] = mapped_column(BigInteger)
    proved: Mapped[int | None] = mapped_column(BigInteger)
    """The newest time at which a point of it was proved restorable."""
    snapshot: Mapped[int | None] = mapped_column(BigInteger)
    """The time of its oldest snapshot."""
    snapshot_name: Mapped[str | None] = mapped_column(Text)


class BadPointEvidence(Evidence):
    """A point that is known to be damaged or wrong. No comparison takes it for a measure."""

    __tablename__ = "vmkeep_check_bad"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)


class PointEvidence(Evidence):
    """One of the newest good points of a VM."""

    __tablename__ = "vmkeep_check_point"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    vm_key: Mapped[str] = mapped_column(String(190), primary_key=True)
    age_rank: Mapped[int] = mapped_column(primary_key=True)
    """1 is the newest."""
    repository: Mapped[str] = mapped_column(String(64))
    ref: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    at: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    capacity: Mapped[int] = mapped_column(BigInteger)
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    longest: Mapped[float | None]
    seconds: Mapped[float | None]


class BoundEvidence(Evidence):
    """A measure of a VM's newest good point, beside the same measure of the points before it."""

    __tablename__ = "vmkeep_check_bound"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    measure: Mapped[str] = mapped_column(String(40), primary_key=True)
    vm_key: Mapped[str] = mapped_column(String(190), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255))
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    value: Mapped[float]
    median: Mapped[float]
    spread: Mapped[float]
    """Median of the distances from the median. Of normally distributed values it is 0.67 standard deviations."""
    points: Mapped[int]
    """Number of earlier points that were measured."""


class SampleEvidence(Evidence):
    """A point of the sample, as its manifest in the repository tells it now."""

    __tablename__ = "vmkeep_check_sample"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    repository: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    problem: Mapped[str | None] = mapped_column(Text)
    """The reason why nothing can be compared: the manifest is damaged or gone; ``None``: it was read."""
    at: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(32))
    capacity: Mapped[int] = mapped_column(BigInteger)
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    disks: Mapped[int]
    """Number of its disks, copied or skipped."""


class DiskSampleEvidence(Evidence):
    """A disk of a point of the sample, with the shape of its map in the repository."""

    __tablename__ = "vmkeep_check_disk"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[int] = mapped_column(primary_key=True)
    repository: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    label: Mapped[str] = mapped_column(Text)
    root: Mapped[str] = mapped_column(String(128))
    problem: Mapped[str | None] = mapped_column(Text)
    """The reason why the map's root cannot be read; ``None``: it was read."""
    block_size: Mapped[int] = mapped_column(BigInteger)
    map_capacity: Mapped[int] = mapped_column(BigInteger)
    map_blocks: Mapped[int] = mapped_column(BigInteger)


EVIDENCE: Final = (
    SeverityEvidence, VmEvidence, BadPointEvidence, PointEvidence, BoundEvidence, SampleEvidence, DiskSampleEvidence,
    PolicyEvidence, CheckRow,
)  # fmt: skip
"""All tables of which a check deletes its rows, that of checks last."""


class QualityRow(Evidence):
    """The report of a check that has ended. It stays after the check, and a rebuild of the catalog keeps it."""

    __tablename__ = "vmkeep_quality"

    check_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    repository: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[int] = mapped_column(BigInteger)
    report: Mapped[str] = mapped_column(Text)
    """JSON."""
