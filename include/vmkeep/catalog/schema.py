"""The catalog's four tables. A new version may drop and refill them, because all their content is from manifests.

A restore point is one row, and each of its disks is another one, which names the point by its number. The number in the
names of the tables is that of this layout. Programs of the first layout, with six tables for each point, may use the
same database beside it: see ``earlier``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from vmkeep.catalog.columns import CheckedTables, UtcDateTime

_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")
"""The type of a point's number. SQLite finds a row by its number at once if the column's type is ``INTEGER``."""


class Base(CheckedTables, DeclarativeBase):
    """Base of the catalog's tables. Their prefix distinguishes them in a shared database."""

    metadata = MetaData()
    remedy = "'vmkeep catalog rebuild' makes these rows anew from the repository"


class PointRow(Base):
    """A restore point of one repository, with its VM, its guest, and the facts that checks of data quality compare.

    Some facts are sums over its disks, so that no question over thousands of points has to join tables.
    """

    __tablename__ = "vmkeep2_point"
    __table_args__ = (
        UniqueConstraint("repository", "ref", name="vmkeep2_point_by_ref"),
        Index("vmkeep2_point_by_vm", "vm_key", "repository", "at"),
    )

    number: Mapped[int] = mapped_column(_NUMBER, Identity(), primary_key=True)
    """The database gives it. It means nothing outside of the database."""
    repository: Mapped[str] = mapped_column(String(64))
    ref: Mapped[str] = mapped_column(String(255))
    id: Mapped[str] = mapped_column(String(64), index=True)
    vm_key: Mapped[str] = mapped_column(String(190))
    vm_name: Mapped[str] = mapped_column(String(255), index=True)
    taken_at: Mapped[datetime] = mapped_column(UtcDateTime)
    at: Mapped[int] = mapped_column(BigInteger)
    """The same time in whole seconds since 1970, because each database calculates with times in a way of its own."""
    run: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(60))
    """Name of the policy that asked for it; empty: a person did, or an older program wrote the point."""
    kind: Mapped[str] = mapped_column(String(32))
    consistency: Mapped[str] = mapped_column(String(32))
    disks: Mapped[int]
    """Number of its disks, copied or skipped."""
    skipped: Mapped[int]
    """Number of its disks that were skipped."""
    capacity: Mapped[int] = mapped_column(BigInteger)
    """Bytes of all disks that the point holds."""
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    longest: Mapped[float | None]
    """Seconds of the longest copy of a disk, because disks are copied side by side; ``None``: one is not known."""
    seconds: Mapped[float | None]
    """Seconds of all copies together; ``None``: one is not known."""
    warnings: Mapped[int]
    vcenter: Mapped[str | None] = mapped_column(String(64))
    """Several VMs may have one name and one key; the vCenter and the id of each tell them apart."""
    moref: Mapped[str | None] = mapped_column(String(64))
    inventory_path: Mapped[str | None] = mapped_column(Text)
    server: Mapped[str | None] = mapped_column(String(255))
    addresses: Mapped[str] = mapped_column(Text)
    """Addresses of the guest, parted by blanks."""
    dns_name: Mapped[str | None] = mapped_column(Text)


INDEXES_TIMES: Final = "postgresql"
"""The kind of database that has an index of times, in which the newest points of most VMs are one range.
In SQLite the index would be a tenth of the file."""
Index("vmkeep2_point_by_time", PointRow.repository, PointRow.at, PointRow.vm_key).ddl_if(dialect=INDEXES_TIMES)


class DiskRow(Base):
    """A disk of a restore point, copied or skipped."""

    __tablename__ = "vmkeep2_disk"
    __table_args__ = ({"sqlite_with_rowid": False},)  # or SQLite would write each key twice

    point: Mapped[int] = mapped_column(
        _NUMBER, ForeignKey("vmkeep2_point.number", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    key: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(String(32))
    capacity: Mapped[int] = mapped_column(BigInteger)
    backing: Mapped[str] = mapped_column(String(64))
    skipped: Mapped[str | None] = mapped_column(String(32))
    kind: Mapped[str | None] = mapped_column(String(32))
    reason: Mapped[str | None] = mapped_column(Text)
    full_reason: Mapped[str | None] = mapped_column(String(32))
    root: Mapped[str | None] = mapped_column(String(128))
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    tracked: Mapped[bool] = mapped_column(Boolean)
    """A later backup may continue the disk: the point has a change id of it."""
    expects_tracking: Mapped[bool] = mapped_column(Boolean)
    """The disk was read from a snapshot of vSphere, so that there should be a change id."""
    unasked: Mapped[bool] = mapped_column(Boolean)
    """The disk was skipped, and no rule of the request left it out."""


class SummedVmRow(Base):
    """The points of one VM in numbers, with the facts of the newest one; see ``vmkeep.catalog.sums``."""

    __tablename__ = "vmkeep2_vm"

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

    __tablename__ = "vmkeep2_repository"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    whole: Mapped[bool] = mapped_column(Boolean)
    """Every VM has its row; if not, nobody reads them."""
