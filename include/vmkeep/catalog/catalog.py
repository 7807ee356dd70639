"""Updates the catalog from a repository, and queries it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol, TypeVar

from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from vmkeep.catalog.engine import open_engine, speaking
from vmkeep.catalog.schema import DiskRow, GuestRow, PointRow, SourceRow
from vmkeep.errors import CatalogError, CorruptError, NotFoundError
from vmkeep.model.point import RestorePoint
from vmkeep.model.selector import names_meant

log = logging.getLogger(__name__)

T = TypeVar("T")
_IN_MEMORY: Final = "sqlite://"


class _UnfitError(CatalogError):
    """The database refuses one point. It may take the others."""


class PointSource(Protocol):
    """The parts of a repository that the catalog needs."""

    @property
    def id(self) -> str:
        """The repository's id."""

    def point_refs(self, vm_key: str | None = None) -> Iterable[str]:
        """List the refs of all sealed points, without reading manifests."""

    def load_points(self, refs: Iterable[str]) -> Iterable[tuple[str, RestorePoint | CorruptError | NotFoundError]]:
        """Read and check some manifests. For one that cannot be read, return the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A restore point as the catalog lists it."""

    ref: str
    id: str
    vm_name: str
    vm_key: str
    taken_at: datetime
    run: str
    kind: str
    consistency: str
    disks: int
    skipped: int
    capacity: int
    bytes_read: int
    bytes_stored: int
    warnings: int
    vcenter: str | None = None
    """UUID of the vCenter where the point was taken. VMs of two vCenters may have one name and key."""
    moref: str | None = None
    inventory_path: str | None = None
    server: str | None = None
    """Address of that vCenter, for people to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOrigin:
    """The VM that a restore point was taken of."""

    ref: str
    taken_at: datetime
    vm_key: str
    vcenter: str | None
    moref: str | None
    addresses: tuple[str, ...]
    """Addresses that its guest had."""
    dns_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """Counts of the changes that a refresh made."""

    added: int
    removed: int
    total: int
    damaged: tuple[str, ...] = ()
    """Points that cannot be read or entered, each with the reason."""


class Catalog:
    """The restore points of any number of repositories, in a database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refresh(self, manifests: PointSource) -> Refreshed:
        """Enter points that the catalog lacks, and drop points that the repository lacks. Reads only new manifests."""
        there = set(manifests.point_refs())
        with self._session() as session:
            known = set(session.scalars(select(PointRow.ref).where(PointRow.repository == manifests.id)))
            sources = set(session.scalars(select(SourceRow.ref).where(SourceRow.repository == manifests.id)))
            guests = set(session.scalars(select(GuestRow.ref).where(GuestRow.repository == manifests.id)))
        here = known & sources & guests
        self._forget(
            manifests.id, sorted((known | sources | guests) - here)
        )  # also points of an older program, which entered less
        left_out: dict[str, str] = {}
        for ref, found in manifests.load_points(sorted(there - here)):
            if isinstance(found, NotFoundError):
                left_out[ref] = "not the name of a restore point: if somebody else put it there, move it away"
            elif isinstance(found, CorruptError):
                left_out[ref] = str(found)
            else:
                try:
                    self.record(manifests.id, found)
                except _UnfitError as error:
                    left_out[ref] = str(error)
        if left_out:  # points that are gone by now are not damaged, but were removed meanwhile
            there -= left_out.keys() - set(manifests.point_refs())
        self._forget(manifests.id, sorted(here - there))
        damaged = [f"{ref}: {why}" for ref, why in left_out.items() if ref in there]
        return Refreshed(
            added=len(there - here) - len(damaged),
            removed=len(here - there),
            total=len(there),
            damaged=tuple(damaged),
        )

    def rebuild(self, manifests: PointSource) -> Refreshed:
        """Drop all points of this repository, and read every manifest again."""
        with self._session() as session:
            session.execute(delete(DiskRow).where(DiskRow.repository == manifests.id))
            session.execute(delete(GuestRow).where(GuestRow.repository == manifests.id))
            session.execute(delete(SourceRow).where(SourceRow.repository == manifests.id))
            session.execute(delete(PointRow).where(PointRow.repository == manifests.id))
        return self.refresh(manifests)

    def record(self, repository: str, point: RestorePoint) -> None:
        """Enter one sealed point. To enter it twice, or from two machines at once, is success."""
        try:
            with self._session() as session:
                session.add(_point_row(repository, point))
                session.flush()
                session.add(_source_row(repository, point))
                session.add(_guest_row(repository, point))
                session.add_all(_disk_rows(repository, point))
        except CatalogError as error:
            if isinstance(error.__cause__, DataError):
                raise _UnfitError(str(error)) from error
            if not isinstance(error.__cause__, IntegrityError):
                raise

    def points(self, repository: str, *, vm: str | None = None) -> list[CatalogEntry]:
        """List restore points, oldest first.

        :param repository: the repository's id.
        :param vm: only the points of the VM with this name or key.
        """
        meant = names_meant(vm) if vm is not None else ()
        query = select(PointRow).where(PointRow.repository == repository).order_by(PointRow.taken_at, PointRow.ref)
        if vm is not None:
            query = query.where(PointRow.vm_name.in_(meant) | (PointRow.vm_key == vm))
        with self._session() as session:
            # Names are compared here, exactly, because some databases ignore case and blanks when they compare.
            rows = [row for row in session.scalars(query) if vm is None or row.vm_key == vm or row.vm_name in meant]
            sources = select(SourceRow).where(SourceRow.repository == repository)
            source_of = {source.ref: source for source in session.scalars(sources)}
            disks: dict[str, list[DiskRow]] = {}
            wanted = select(DiskRow).where(DiskRow.repository == repository)
            if vm is not None:
                wanted = wanted.where(DiskRow.ref.in_([row.ref for row in rows]))
            for disk in session.scalars(wanted):
                disks.setdefault(disk.ref, []).append(disk)
            return [_entry(row, source_of.get(row.ref, SourceRow()), disks.get(row.ref, [])) for row in rows]

    def origins(self, repository: str) -> list[PointOrigin]:
        """List the VMs that restore points were taken of, oldest point first. Reads no disks, because points are many.

        :param repository: the repository's identity.
        """
        query = (
            select(
                PointRow.ref, PointRow.taken_at, PointRow.vm_key, SourceRow.vcenter, SourceRow.moref,
                GuestRow.addresses, GuestRow.dns_name,
            )
            .where(PointRow.repository == repository)
            .join(SourceRow, (SourceRow.repository == PointRow.repository) & (SourceRow.ref == PointRow.ref))
            .join(GuestRow, (GuestRow.repository == PointRow.repository) & (GuestRow.ref == PointRow.ref))
            .order_by(PointRow.taken_at, PointRow.ref)
        )  # fmt: skip
        with self._session() as session:
            return [
                PointOrigin(
                    ref=row.ref,
                    taken_at=row.taken_at,
                    vm_key=row.vm_key,
                    vcenter=row.vcenter,
                    moref=row.moref,
                    addresses=tuple(row.addresses.split()),
                    dns_name=row.dns_name,
                )
                for row in session.execute(query)
            ]

    def _forget(self, repository: str, refs: list[str]) -> None:
        with self._session() as session:
            for ref in refs:
                session.execute(delete(DiskRow).where(DiskRow.repository == repository, DiskRow.ref == ref))
                session.execute(delete(GuestRow).where(GuestRow.repository == repository, GuestRow.ref == ref))
                session.execute(delete(SourceRow).where(SourceRow.repository == repository, SourceRow.ref == ref))
                session.execute(delete(PointRow).where(PointRow.repository == repository, PointRow.ref == ref))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


@contextmanager
def open_catalog(url: str) -> Iterator[Catalog]:
    """Open the catalog at a SQLAlchemy URL, and make its missing tables.

    :raises CatalogError: the database cannot be opened. In the body: it cannot be read or written.
    """
    with open_engine(url) as engine:
        yield Catalog(engine)


def ask_catalog(url: str, question: Callable[[Catalog], T]) -> T:
    """Return the answer of the catalog at a URL. If it fails, ask an empty catalog in memory, which is slower.

    :param question: takes the catalog. It has to refresh the catalog itself, because it may be called a second time.
    """
    try:
        with open_catalog(url) as catalog:
            return question(catalog)
    except CatalogError as error:
        log.warning("%s; the repository is read instead, which takes longer", error)
    with open_catalog(_IN_MEMORY) as catalog:
        return question(catalog)


def _point_row(repository: str, point: RestorePoint) -> PointRow:
    return PointRow(
        repository=repository,
        ref=point.ref,
        id=point.id,
        vm_key=point.vm.key,
        vm_name=point.vm.name,
        taken_at=point.taken_at,
        run=point.run,
        kind=point.kind,
        consistency=point.consistency,
        bytes_read=sum(image.bytes_read for image in point.images),
        bytes_stored=sum(image.bytes_stored for image in point.images),
        warnings=len(point.warnings),
    )


def _source_row(repository: str, point: RestorePoint) -> SourceRow:
    vm = point.vm
    return SourceRow(
        repository=repository,
        ref=point.ref,
        vcenter=vm.vcenter,
        moref=vm.moref,
        inventory_path=vm.inventory_path,
        server=vm.server,
    )


def _guest_row(repository: str, point: RestorePoint) -> GuestRow:
    return GuestRow(
        repository=repository,
        ref=point.ref,
        addresses=" ".join(point.vm.addresses),
        dns_name=point.vm.dns_name,
    )


def _disk_rows(repository: str, point: RestorePoint) -> list[DiskRow]:
    images = {image.disk.key: image for image in point.images}
    rows = []
    for disk in point.disks:
        image = images.get(disk.key)
        rows.append(
            DiskRow(
                repository=repository,
                ref=point.ref,
                key=disk.key,
                label=disk.label,
                address=disk.address,
                capacity=disk.capacity,
                backing=disk.backing,
                skipped=disk.skip,
                kind=image.kind if image else None,
                reason=image.reason if image else None,
                root=image.root if image else None,
            )
        )
    return rows


def _entry(row: PointRow, source: SourceRow, disks: list[DiskRow]) -> CatalogEntry:
    return CatalogEntry(
        ref=row.ref,
        id=row.id,
        vm_name=row.vm_name,
        vm_key=row.vm_key,
        taken_at=row.taken_at,
        run=row.run,
        kind=row.kind,
        consistency=row.consistency,
        disks=len(disks),
        skipped=sum(disk.skipped is not None for disk in disks),
        capacity=sum(disk.capacity for disk in disks if disk.skipped is None),
        bytes_read=row.bytes_read,
        bytes_stored=row.bytes_stored,
        warnings=row.warnings,
        vcenter=source.vcenter,
        moref=source.moref,
        inventory_path=source.inventory_path,
        server=source.server,
    )
