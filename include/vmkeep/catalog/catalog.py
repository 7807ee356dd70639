"""Updates the catalog from a repository, and queries it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from vmkeep.catalog.earlier import drop_earlier
from vmkeep.catalog.engine import open_engine, speaking
from vmkeep.catalog.entered import enter_all, forget_all, forget_repository
from vmkeep.catalog.entries import CatalogEntry, entries_of, listed
from vmkeep.catalog.origins import PointOrigin, origin_of
from vmkeep.catalog.rows import PointRows, rows_of
from vmkeep.catalog.schema import PointRow
from vmkeep.catalog.statements import is_of_vm, parted
from vmkeep.catalog.sums import begin_sums, drop_sums, settle_sums, sum_again
from vmkeep.errors import CatalogError, CorruptError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.knownpoint import KnownPoint
from vmkeep.model.point import RestorePoint
from vmkeep.model.selector import names_meant

if TYPE_CHECKING:
    from vmkeep.catalog.capacity_notes import CapacityNotes
    from vmkeep.catalog.checking import QualityCheck
    from vmkeep.catalog.overview import Overview
    from vmkeep.catalog.recovery_notes import RecoveryNotes

log = logging.getLogger(__name__)

T = TypeVar("T")
Loaded = tuple[str, RestorePoint | CorruptError | NotFoundError]
"""The ref of a point, and the point or the reason why it cannot be read."""
_IN_MEMORY: Final = "sqlite://"


class PointSource(Protocol):
    """The parts of a repository that the catalog needs."""

    @property
    def id(self) -> str:
        """The repository's id."""

    def point_refs(self, vm_key: str | None = None) -> Iterable[str]:
        """List the refs of all sealed points, without reading manifests."""

    def load_points(self, refs: Iterable[str]) -> Iterable[Loaded]:
        """Read and check some manifests. For one that cannot be read, return the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """Counts of the changes that a refresh made."""

    added: int
    removed: int
    total: int
    damaged: tuple[str, ...] = ()
    """Points that cannot be read or entered, each with the reason."""


class Catalog:
    """The restore points of any number of repositories, in a database.

    What only a check of data quality or the web view asks is loaded when it is asked, because its tables take time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def refresh(self, manifests: PointSource) -> Refreshed:
        """Enter points that the catalog lacks, and drop points that the repository lacks. Reads only new manifests.

        Points are entered some hundreds at a time. If the process dies, the next refresh goes on where it stopped.
        """
        with self._session() as session:
            here = set(session.scalars(select(PointRow.ref).where(PointRow.repository == manifests.id)))
        there = set(manifests.point_refs())  # afterwards, or it would lack points that backups enter meanwhile
        left_out: dict[str, str] = {}
        loaded = manifests.load_points(sorted(there - here))
        left_out |= enter_all(self._session, manifests.id, _readable(manifests.id, loaded, left_out))
        if left_out:  # points that are gone by now are not damaged, but were removed meanwhile
            there -= left_out.keys() - set(manifests.point_refs())
        self._forget(manifests.id, sorted(here - there))
        self._settle(manifests.id, there - left_out.keys())
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
            forget_repository(session, manifests.id)
            drop_sums(session, manifests.id)
        with speaking(self._engine.url):
            drop_earlier(self._engine)
        return self.refresh(manifests)

    def record(self, repository: str, point: RestorePoint) -> None:
        """Enter one sealed point. To enter it twice, or from two machines at once, is success."""
        for why in enter_all(self._session, repository, [rows_of(repository, point)]).values():
            raise CatalogError(why)

    def enter(self, repository: str, points: Iterable[RestorePoint]) -> None:
        """Enter some sealed points. Those that the database refuses are left out, and a refresh names them."""
        enter_all(self._session, repository, (rows_of(repository, point) for point in points))

    def known(self, repository: str, refs: Iterable[str]) -> dict[str, KnownPoint]:
        """Return of which VM, when and for which policy points were taken, by their refs, as far as they are here."""
        row = PointRow
        columns = (row.taken_at, row.vm_name.label("name"), row.inventory_path, row.vcenter, row.moref, row.policy)
        query = select(row.ref, *columns).where(row.repository == repository)
        with self._session() as session:
            return {
                each.ref: KnownPoint(**each)
                for some in parted(refs)
                for each in session.execute(query.where(row.ref.in_(some))).mappings()
            }

    def points(
        self, repository: str, *, vm: str | None = None, most: int | None = None, hosts: bool = True
    ) -> list[CatalogEntry]:
        """List restore points, oldest first.

        :param repository: the repository's id.
        :param vm: only the points of the VM with this name or key.
        :param most: only this number of newest points; ``None``: all.
        :param hosts: also list configurations of ESXi hosts; those of ``vm`` are always listed.
        """
        query = listed(repository)
        if vm is None:
            query = (query if hosts else query.where(is_of_vm(PointRow.vm_key))).limit(most)
            with self._session() as session:
                return list(entries_of(session.execute(query)))[::-1]
        meant = names_meant(vm)
        query = query.where(PointRow.vm_name.in_(meant) | (PointRow.vm_key == vm))
        with self._session() as session:
            # Names are compared here, exactly, because some databases ignore case and blanks when they compare.
            rows = (row for row in session.execute(query) if row.vm_key == vm or row.vm_name in meant)
            wanted = (row for row in rows if hosts or row.vm_key == vm or not is_host_key(row.vm_key))
            return list(islice(entries_of(wanted), most))[::-1]

    def policies(self, repository: str) -> dict[str, str]:
        """Return the policy that asked for each point, by the point's ref. Points that a person asked for are left out.

        :param repository: the repository's identity.
        """
        query = select(PointRow.ref, PointRow.policy).where(PointRow.repository == repository, PointRow.policy != "")
        with self._session() as session:
            return {row.ref: row.policy for row in session.execute(query)}

    def origins(self, repository: str) -> list[PointOrigin]:
        """List the VMs that restore points were taken of, oldest point first. Reads no disks, because points are many.

        :param repository: the repository's identity.
        """
        row = PointRow
        query = (
            select(row.ref, row.taken_at, row.vm_key, row.vcenter, row.moref, row.addresses, row.dns_name)
            .where(row.repository == repository)
            .order_by(row.taken_at, row.ref)
        )
        with self._session() as session:
            return [origin_of(each, each.taken_at) for each in session.execute(query)]

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of the database, with its password."""
        return self._engine.url.render_as_string(hide_password=False)

    def open_check(self, repository: str, now: datetime) -> AbstractContextManager[QualityCheck]:
        """Begin a check of the data quality of one repository's points; see :class:`QualityCheck`."""
        from vmkeep.catalog.checking import open_check

        return open_check(self._engine, repository, now)

    def overview(self) -> Overview:
        """Return the questions of the web view's pages."""
        from vmkeep.catalog.overview import Overview

        return Overview(self._engine)

    def capacity(self) -> CapacityNotes:
        """Return the notes about the sizes and the checks of repositories."""
        from vmkeep.catalog.capacity_notes import CapacityNotes

        return CapacityNotes(self._engine)

    def recoveries(self) -> RecoveryNotes:
        """Return the notes about recoveries and drills."""
        from vmkeep.catalog.recovery_notes import RecoveryNotes

        return RecoveryNotes(self._engine)

    def kept_reports(self, repository: str, *, most: int) -> list[str]:
        """Return the newest reports (JSON) of checks of data quality, the newest first."""
        from vmkeep.catalog.checking import kept_reports

        return kept_reports(self._engine, repository, most)

    def _forget(self, repository: str, refs: list[str]) -> None:
        if not refs:
            return
        with self._session() as session:
            forget_all(session, repository, refs)
            sum_again(session, repository, {ref.rpartition("/")[0] for ref in refs})

    def _settle(self, repository: str, refs: set[str]) -> None:
        """Let the sums of each VM fit its points, whoever entered them."""
        try:
            with self._session() as session:
                begin_sums(session, repository)
        except CatalogError as error:
            if not isinstance(error.__cause__, IntegrityError):  # another process has begun them at the same time
                raise
        with self._session() as session:
            settle_sums(session, repository, refs)

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


def _readable(repository: str, loaded: Iterable[Loaded], left_out: dict[str, str]) -> Iterator[PointRows]:
    """Yield the rows of points as they are read. Add to ``left_out`` why one cannot be, by its ref."""
    for ref, found in loaded:
        if isinstance(found, NotFoundError):
            left_out[ref] = "not the name of a restore point: if somebody else put it there, move it away"
        elif isinstance(found, CorruptError):
            left_out[ref] = str(found)
        else:
            yield rows_of(repository, found)
