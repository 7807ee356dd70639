"""Bring the catalog level with a repository, and ask it questions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine, create_engine, delete, event, select
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from vmkeep.catalog.schema import Base, DiskRow, PointRow
from vmkeep.errors import CorruptError, NotFoundError, UsageError, VmKeepError
from vmkeep.model.point import RestorePoint


class CatalogError(VmKeepError):
    """The catalog's database cannot be used. Restore points are not affected: they live in the repository."""

    exit_code = 64


class _UnfitError(CatalogError):
    """The database does not take one point: the others may fit."""


class Manifests(Protocol):
    """What the catalog needs of a repository."""

    @property
    def id(self) -> str:
        """The repository's identity."""

    def point_refs(self, vm_key: str | None = None) -> Iterable[str]:
        """List the refs of all sealed points, cheaply."""

    def load_point(self, ref: str) -> RestorePoint:
        """Read and check one manifest."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What a refresh changed."""

    added: int
    removed: int
    total: int
    damaged: tuple[str, ...] = ()
    """Points that cannot be read or entered, each with the reason."""


class Catalog:
    """Questions over the restore points of any number of repositories."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refresh(self, manifests: Manifests) -> Refreshed:
        """Enter the points that are missing here and drop those that are gone there; read only what is new."""
        there = set(manifests.point_refs())
        with self._session() as session:
            here = set(session.scalars(select(PointRow.ref).where(PointRow.repository == manifests.id)))
        left_out: dict[str, str] = {}
        for ref in sorted(there - here):
            try:
                self.record(manifests.id, manifests.load_point(ref))
            except (CorruptError, _UnfitError) as error:
                left_out[ref] = str(error)
            except NotFoundError:
                left_out[ref] = "is not the name of a restore point"
        if left_out:  # those that are gone by now were only removed meanwhile
            there -= left_out.keys() - set(manifests.point_refs())
        self._forget(manifests.id, sorted(here - there))
        damaged = [f"{ref}: {why}" for ref, why in left_out.items() if ref in there]
        return Refreshed(
            added=len(there - here) - len(damaged),
            removed=len(here - there),
            total=len(there),
            damaged=tuple(damaged),
        )

    def rebuild(self, manifests: Manifests) -> Refreshed:
        """Drop what is known of this repository and read every manifest again."""
        with self._session() as session:
            session.execute(delete(DiskRow).where(DiskRow.repository == manifests.id))
            session.execute(delete(PointRow).where(PointRow.repository == manifests.id))
        return self.refresh(manifests)

    def record(self, repository: str, point: RestorePoint) -> None:
        """Enter one sealed point; entering it twice, or from two machines at once, is success."""
        try:
            with self._session() as session:
                session.add(_point_row(repository, point))
                session.flush()
                session.add_all(_disk_rows(repository, point))
        except IntegrityError:
            return
        except DataError as error:
            raise _UnfitError(f"the catalog's database does not take it: {_first_line(error)}") from error

    def points(self, repository: str, *, vm: str | None = None) -> list[CatalogEntry]:
        """List restore points, oldest first; ``vm`` is a VM's name or key."""
        query = select(PointRow).where(PointRow.repository == repository).order_by(PointRow.taken_at, PointRow.ref)
        if vm is not None:
            query = query.where((PointRow.vm_name == vm) | (PointRow.vm_key == vm))
        with self._session() as session:
            rows = list(session.scalars(query))
            disks: dict[str, list[DiskRow]] = {}
            wanted = select(DiskRow).where(DiskRow.repository == repository)
            if vm is not None:
                wanted = wanted.where(DiskRow.ref.in_([row.ref for row in rows]))
            for disk in session.scalars(wanted):
                disks.setdefault(disk.ref, []).append(disk)
            return [_entry(row, disks.get(row.ref, [])) for row in rows]

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _forget(self, repository: str, refs: list[str]) -> None:
        with self._session() as session:
            for ref in refs:
                session.execute(delete(DiskRow).where(DiskRow.repository == repository, DiskRow.ref == ref))
                session.execute(delete(PointRow).where(PointRow.repository == repository, PointRow.ref == ref))

    @contextmanager
    def _session(self) -> Iterator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except (IntegrityError, DataError):
            raise
        except SQLAlchemyError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise CatalogError(f"catalog {where}: {_first_line(error)}") from error


@contextmanager
def open_catalog(url: str) -> Iterator[Catalog]:
    """Open the catalog at a SQLAlchemy URL, making its tables where they are missing."""
    if url.startswith("sqlite:///") and url != "sqlite:///:memory:":
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = create_engine(url, connect_args={"timeout": 30} if url.startswith("sqlite") else {})
    except SQLAlchemyError as error:
        raise UsageError(f"catalog: not a database URL: {_first_line(error)}") from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
    catalog = Catalog(engine)
    try:
        Base.metadata.create_all(engine)
        yield catalog
    except SQLAlchemyError as error:
        raise CatalogError(
            f"catalog {engine.url.render_as_string(hide_password=True)}: {_first_line(error)}"
        ) from error
    finally:
        catalog.close()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


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


def _entry(row: PointRow, disks: list[DiskRow]) -> CatalogEntry:
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
    )
