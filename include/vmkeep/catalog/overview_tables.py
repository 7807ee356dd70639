"""The tables of the overview: facts about points and VMs that are in no manifest, as they were last looked at.

Marks, proofs and the place of a repository lie beside its manifests, and only a vCenter knows its VMs. A page must ask
none of them while somebody waits. So a check of data quality, which asks all of them, notes the answers here. Each
repository's rows are replaced as a whole. Times are seconds since 1970.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from vmkeep.catalog.columns import CheckedTables


class Noted(CheckedTables, DeclarativeBase):
    """Base of these tables, apart from the catalog's own, because a refresh of the catalog cannot fill them."""

    metadata = MetaData()
    remedy = "delete that row; the next check of data quality ('vmkeep catalog quality') notes what is so now"


class NotedRepositoryRow(Noted):
    """A repository that was looked at."""

    __tablename__ = "vmkeep_noted_repository"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    location: Mapped[str] = mapped_column(Text)
    at: Mapped[int] = mapped_column(BigInteger)


class NotedMarkRow(Noted):
    """A mark of a restore point."""

    __tablename__ = "vmkeep_noted_mark"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    reason: Mapped[str] = mapped_column(Text)
    until: Mapped[int | None] = mapped_column(BigInteger)
    """The end of a pin; ``None``: the mark has no end."""


class NotedProofRow(Noted):
    """The newest proof of one kind of a restore point."""

    __tablename__ = "vmkeep_noted_proof"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    result: Mapped[str] = mapped_column(String(16), index=True)
    at: Mapped[int] = mapped_column(BigInteger)
    has_picture: Mapped[bool] = mapped_column(Boolean)
    """A picture of a screen is kept with it."""


class NotedFailureRow(Noted):
    """A kind of check that a VM has failed and not passed since."""

    __tablename__ = "vmkeep_noted_failure"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    vm_key: Mapped[str] = mapped_column(String(190), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    ref: Mapped[str] = mapped_column(String(255))
    """The point in which it failed last."""
    at: Mapped[int] = mapped_column(BigInteger)


class NotedVmRow(Noted):
    """A VM, with the policy that has it and its last proof."""

    __tablename__ = "vmkeep_noted_vm"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    vm: Mapped[str] = mapped_column(String(190), primary_key=True)
    """The vCenter's host and the managed object id, or the VM's key."""
    name: Mapped[str] = mapped_column(Text)
    policy: Mapped[str] = mapped_column(String(60))
    """Empty: no policy has the VM."""
    asked: Mapped[bool] = mapped_column(Boolean)
    """A vCenter told of the VM."""
    obstacle: Mapped[str | None] = mapped_column(Text)
    """The reason why it cannot be backed up."""
    ref: Mapped[str | None] = mapped_column(String(255))
    """Its newest good point; ``None``: it had none."""
    proved: Mapped[int | None] = mapped_column(BigInteger)


class NotedRecoveryRow(Noted):
    """A run of a recovery plan, or a drill of one."""

    __tablename__ = "vmkeep_noted_recovery"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    run: Mapped[str] = mapped_column(String(190), primary_key=True)
    plan: Mapped[str] = mapped_column(Text)
    drill: Mapped[bool] = mapped_column(Boolean)
    vcenter: Mapped[str] = mapped_column(Text)
    began: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[int | None] = mapped_column(BigInteger)
    """``None``: it goes on, or was interrupted."""
    healthy: Mapped[int] = mapped_column(BigInteger)
    off: Mapped[int] = mapped_column(BigInteger)
    failed: Mapped[int] = mapped_column(BigInteger)
    rpo: Mapped[int | None] = mapped_column(BigInteger)
    """Seconds."""
    rto: Mapped[int | None] = mapped_column(BigInteger)
    """Seconds; ``None``: not reached."""


class NotedDayRow(Noted):
    """The sizes of a repository as the last look of a day found them. These rows stay, because they are its history."""

    __tablename__ = "vmkeep_noted_day"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Days since 1970, UTC."""
    at: Mapped[int] = mapped_column(BigInteger)
    points: Mapped[int] = mapped_column(BigInteger)
    protected: Mapped[int] = mapped_column(BigInteger)
    """Bytes of all disks in all points."""
    bytes_read: Mapped[int] = mapped_column(BigInteger)
    """Bytes that the backups of these points read."""
    bytes_added: Mapped[int] = mapped_column(BigInteger)
    """Bytes that they added."""
    bytes_stored: Mapped[int] = mapped_column(BigInteger)
    """Bytes of all packs and of the index."""
    free: Mapped[int | None] = mapped_column(BigInteger)
    """Bytes that the place has left; ``None``: it does not tell."""
    locked_for: Mapped[int | None] = mapped_column(BigInteger)
    """Seconds for which the repository locks blobs; ``None``: it locks none."""
    locked: Mapped[int | None] = mapped_column(BigInteger)
    """Points whose manifest is locked; ``None``: the store keeps no locks."""
    locked_until: Mapped[int | None] = mapped_column(BigInteger)
    """The end of the last of these locks; ``None``: there is none."""


class NotedCheckRow(Noted):
    """A check of a repository that came to its end."""

    __tablename__ = "vmkeep_noted_check"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    part: Mapped[int] = mapped_column(BigInteger)
    """Number of the part whose data was read, from 1; 0: no data was read."""
    parts: Mapped[int] = mapped_column(BigInteger)
    """Number of parts that make up all data; 1: all was read."""
    findings: Mapped[int] = mapped_column(BigInteger)


class NotedLeavingRow(Noted):
    """The points that retention lets go at one of the next days."""

    __tablename__ = "vmkeep_noted_leaving"

    repository: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """Days since 1970, UTC."""
    points: Mapped[int] = mapped_column(BigInteger)
    vms: Mapped[int] = mapped_column(BigInteger)
    bytes_added: Mapped[int] = mapped_column(BigInteger)
    """Bytes that the backups of these points added. Fewer get free, because newer points need some of them."""


NOTED: Final = (NotedRepositoryRow, NotedMarkRow, NotedProofRow, NotedFailureRow, NotedVmRow)
