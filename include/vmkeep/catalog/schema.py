"""The catalog's eight tables. A new version may drop and refill them, because all their content is from manifests."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Boolean, ForeignKeyConstraint, Index, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from vmkeep.catalog.columns import CheckedTables, UtcDateTime

_ONE_TREE: Final = {"sqlite_with_rowid": False}
"""Lets SQLite keep a table's rows in the index of their keys. Else it writes the keys, which are most of a row, twice.

The table of points is no such one: each of its other indexes would hold the whole key then, instead of a number.
"""


class Base(CheckedTables, DeclarativeBase):
    """Base of the catalog's tables. Their prefix distinguishes them in a shared database."""

    metadata = MetaData()
    remedy = "'vmkeep catalog rebuild' makes these rows anew from the repository"


class PointRow(Base):
    """A restore point of one repository."""

    __tablename__ = "vmkeep_point"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), index=True)
    vm_key: Mapped[str] = mapped_column(String(190), index=True)
    vm_name: Mapped[str] = mapped_column(String(255), index=True)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    run: Mapped[str] = mapped_column(String(255))
    kind: Mapped[str] = mapped_column(String(32))
    consistency: Mapped[str] = mapped_column(String(32))
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    warnings: Mapped[int]


class SourceRow(Base):
    """The VM of which a restore point was taken. Several VMs may have one name and one key.

    This is a table of its own, because older programs made the table of points, and may use the same database.
    """

    __tablename__ = "vmkeep_source"
    __table_args__ = _ONE_TREE

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    vcenter: Mapped[str | None] = mapped_column(String(64))
    moref: Mapped[str | None] = mapped_column(String(64))
    inventory_path: Mapped[str | None] = mapped_column(Text)
    server: Mapped[str | None] = mapped_column(String(255))


class GuestRow(Base):
    """The addresses of the guest of a restore point's VM. A table of its own for the same reason."""

    __tablename__ = "vmkeep_guest"
    __table_args__ = _ONE_TREE

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    addresses: Mapped[str] = mapped_column(Text)
    """Parted by blanks."""
    dns_name: Mapped[str | None] = mapped_column(Text)


class DiskRow(Base):
    """A disk of a restore point, copied or skipped."""

    __tablename__ = "vmkeep_disk"
    __table_args__ = (
        ForeignKeyConstraint(
            ["repository", "ref"], ["vmkeep_point.repository", "vmkeep_point.ref"], ondelete="CASCADE"
        ),
        _ONE_TREE,
    )

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(String(32))
    capacity: Mapped[int] = mapped_column(BigInteger)
    backing: Mapped[str] = mapped_column(String(64))
    skipped: Mapped[str | None] = mapped_column(String(32))
    kind: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(Text)
    root: Mapped[str | None] = mapped_column(String(128))


class FactRow(Base):
    """The facts of a restore point that checks of data quality compare over thousands of points.

    A table of its own for the same reason. Its times are numbers, because each database calculates with times in a way
    of its own, and it repeats name and key, so that no check over all points has to join tables.
    """

    __tablename__ = "vmkeep_fact"
    __table_args__ = (Index("vmkeep_fact_by_vm", "repository", "vm_key", "at"), _ONE_TREE)

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    vm_key: Mapped[str] = mapped_column(String(190))
    vm_name: Mapped[str] = mapped_column(String(255))
    at: Mapped[int] = mapped_column(BigInteger)
    """The time that the point shows, in seconds since 1970."""
    policy: Mapped[str] = mapped_column(String(60))
    """Name of the policy that asked for it; empty: a person did, or an older program wrote the point."""
    kind: Mapped[str] = mapped_column(String(32))
    capacity: Mapped[int] = mapped_column(BigInteger)
    """Bytes of all disks that the point holds."""
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    longest: Mapped[float | None]
    """Seconds of the longest copy of a disk, because disks are copied side by side; ``None``: one is not known."""
    seconds: Mapped[float | None]
    """Seconds of all copies together; ``None``: one is not known."""


INDEXES_TIMES: Final = "postgresql"
"""The kind of database that has :data:`FACTS_BY_TIME`. In SQLite the index would be a tenth of the file."""
FACTS_BY_TIME: Final = Index("vmkeep_fact_by_time", FactRow.repository, FactRow.at, FactRow.vm_key).ddl_if(
    dialect=INDEXES_TIMES
)
"""Tells the newest points of most VMs in one range. A refresh makes it for a table that an older program has made."""


class DiskFactRow(Base):
    """The facts of one disk of a restore point that checks of data quality need. A table of its own as well."""

    __tablename__ = "vmkeep_disk_fact"
    __table_args__ = _ONE_TREE

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[int] = mapped_column(primary_key=True)
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    full_reason: Mapped[str | None] = mapped_column(String(32))
    tracked: Mapped[bool] = mapped_column(Boolean)
    """A later backup may continue the disk: the point has a change id of it."""
    expects_tracking: Mapped[bool] = mapped_column(Boolean)
    """The disk was read from a snapshot of vSphere, so that there should be a change id."""
    unasked: Mapped[bool] = mapped_column(Boolean)
    """The disk was skipped, and no rule of the request left it out."""


class SummedVmRow(Base):
    """The points of one VM in numbers, with the facts of the newest one; see ``vmkeep.catalog.sums``."""

    __tablename__ = "vmkeep_summed_vm"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    vm_key: Mapped[str] = mapped_column(String(190), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255))
    at: Mapped[int] = mapped_column(BigInteger)
    vm_name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    capacity: Mapped[int] = mapped_column(BigInteger)
    points: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    """Bytes that all points of the VM have stored."""


class SummedRepositoryRow(Base):
    """A repository whose VMs have sums. Who writes its points holds this row, so that none misses another's point."""

    __tablename__ = "vmkeep_summed_repository"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    whole: Mapped[bool] = mapped_column(Boolean)
    """Every VM has its row; if not, nobody reads them."""
