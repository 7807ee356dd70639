"""Answers the questions of the pages of the web view, each by a few queries that an index serves.

A page shows the points of all repositories that one database has. The number of rows that a question reads is bounded
by the number of VMs, or by the points of one page.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import ColumnElement, Engine, and_, case, delete, func, insert, or_, select, text, tuple_
from sqlalchemy.orm import Session

from vmkeep.catalog.engine import make_tables, speaking
from vmkeep.catalog.failures import NotedFailure, failures_of
from vmkeep.catalog.overview_tables import (
    NOTED,
    Noted,
    NotedFailureRow,
    NotedMarkRow,
    NotedProofRow,
    NotedRepositoryRow,
    NotedVmRow,
)
from vmkeep.catalog.schema import DiskFactRow, DiskRow, FactRow, GuestRow, PointRow, SourceRow

T = TypeVar("T")
_AT_ONCE: Final = 1000
"""Rows that one statement inserts, and keys that one statement names."""
_HOSTS: Final = "host-%"
"""Keys of ESXi hosts, which are no VMs."""
_BAD: Final = ("damaged", "suspect")
"""Marks of points that prove nothing."""


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
    """Number of points that are damaged or suspect."""
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


class Overview:
    """The questions of the pages to one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with speaking(engine.url):
            make_tables(engine, Noted.metadata)

    def note(
        self,
        repository: str,
        *,
        location: str,
        at: datetime,
        marks: Iterable[NotedMark],
        proofs: Iterable[NotedProof],
        vms: Iterable[NotedVm],
        unasked: Collection[str] = (),
    ) -> None:
        """Replace everything that is noted of a repository, in one transaction.

        :param unasked: hosts of vCenters whose VMs stay as they were noted, because nobody could ask for them.
        """
        own = {"repository": repository}
        stays = [NotedVmRow.vm.startswith(f"{host}/", autoescape=True) for host in unasked]
        with self._session() as session:
            for table in NOTED:
                of_it = delete(table).where(table.repository == repository)
                session.execute(of_it.where(~or_(*stays)) if stays and table is NotedVmRow else of_it)
            session.add(NotedRepositoryRow(repository=repository, location=location, at=int(at.timestamp())))
            proofs = list(proofs)
            kinds: tuple[tuple[Iterable[NotedMark | NotedProof | NotedFailure | NotedVm], type[Noted]], ...] = (
                (marks, NotedMarkRow), (proofs, NotedProofRow), (failures_of(proofs), NotedFailureRow),
                (vms, NotedVmRow),
            )  # fmt: skip
            for rows, row in kinds:
                for some in _parted(rows):
                    session.execute(insert(row), [own | asdict(each) for each in some])

    def repositories(self) -> list[NotedRepository]:
        """Return the repositories that have points here, or were looked at."""
        with self._session() as session:
            noted = {row.repository: row for row in session.scalars(select(NotedRepositoryRow))}
            ids = set(noted)
            last = ""
            while found := session.scalar(select(func.min(FactRow.repository)).where(FactRow.repository > last)):
                ids.add(found)  # a step of the index for each repository, because DISTINCT would read every point
                last = found
            return [
                NotedRepository(
                    repository=each,
                    location=noted[each].location if each in noted else None,
                    at=_time(noted[each].at) if each in noted else None,
                )
                for each in sorted(ids)
            ]

    def summaries(self, now: datetime, vm_key: str | None = None) -> list[VmSummary]:
        """Return the VMs that have points. A point of the future proves nothing, and counts as no good one.

        :param vm_key: only this VM; ``None``: all.
        """
        fact = FactRow
        is_bad = _bad_points()
        good = case((and_(is_bad.c.ref.is_(None), fact.at <= int(now.timestamp())), fact.at))
        numbers = (
            select(
                fact.repository, fact.vm_key, func.count().label("points"), func.max(good).label("good"),
                func.max(fact.at).label("newest"), func.sum(fact.bytes_stored).label("stored"),
                func.count(is_bad.c.ref).label("bad"),
            )
            .outerjoin(is_bad, (is_bad.c.repository == fact.repository) & (is_bad.c.ref == fact.ref))
            .where(*self._of_vm(vm_key))
            .group_by(fact.repository, fact.vm_key)
            .subquery()
        )  # fmt: skip
        query = (
            select(numbers, fact.ref, fact.vm_name, fact.policy, fact.capacity)
            .join(
                fact,
                (fact.repository == numbers.c.repository)
                & (fact.vm_key == numbers.c.vm_key)
                & (fact.at == func.coalesce(numbers.c.good, numbers.c.newest)),
            )
            .order_by(fact.ref)
        )
        with self._session() as session:
            _alone(session)
            rows = {(row.repository, row.vm_key): row for row in session.execute(query)}  # one of two of one second
        return [_summary(row) for row in rows.values()]

    def _of_vm(self, vm_key: str | None) -> list[ColumnElement[bool]]:
        """Return the conditions on the facts of one VM, which an index serves, or of all."""
        if vm_key is None:
            return [FactRow.vm_key.not_like(_HOSTS)]
        having = select(PointRow.repository).where(PointRow.vm_key == vm_key)
        return [FactRow.repository.in_(having), FactRow.vm_key == vm_key]

    def places(self, vms: Collection[VmSummary]) -> dict[str, str]:
        """Return where VMs were when they were backed up: host of the vCenter and managed object id, by the VM's key.

        Those of which nothing is recorded are left out.
        """
        keys = {(each.repository, each.told_by): each.vm_key for each in vms}
        found: dict[str, str] = {}
        with self._session() as session:
            for some in _parted(keys):
                wanted = tuple_(SourceRow.repository, SourceRow.ref).in_(some)
                for row in session.scalars(select(SourceRow).where(wanted)):
                    if row.server and row.moref:
                        found[keys[row.repository, row.ref]] = f"{row.server}/{row.moref}"
        return found

    def noted_vms(self, vm_key: str | None = None, places: Collection[str] = ()) -> list[tuple[str, NotedVm]]:
        """Return the VMs of the last look at each repository, each with the repository.

        :param vm_key: only those whose newest point is of this VM, or that are at one of the places; ``None``: all.
        :param places: hosts of vCenters, each with a managed object id.
        """
        row = NotedVmRow
        query = select(row.repository, row.vm, row.name, row.policy, row.asked, row.obstacle, row.ref, row.proved)
        if vm_key is not None:
            query = query.where(or_(row.ref.startswith(f"{vm_key}/", autoescape=True), row.vm.in_(list(places))))
        with self._session() as session:
            return [
                (each["repository"], NotedVm(**_fields(NotedVm, each))) for each in session.execute(query).mappings()
            ]

    def failures(self, vm_key: str | None = None) -> list[NotedFailure]:
        """Return the checks that VMs have failed and not passed since, as of the last look at each repository.

        :param vm_key: only those of this VM; ``None``: all.
        """
        row = NotedFailureRow
        query = select(row.vm_key, row.kind, row.ref, row.at).order_by(row.vm_key, row.kind)
        if vm_key is not None:
            query = query.where(row.vm_key == vm_key)
        with self._session() as session:
            return [NotedFailure(**each) for each in session.execute(query).mappings()]

    def trends(self, vms: Collection[tuple[str, str]], most: int) -> dict[tuple[str, str], list[int]]:
        """Return the bytes that the newest points of some VMs have stored, the oldest first.

        :param vms: repository and key of each VM.
        :param most: points of each VM.
        """
        fact = FactRow
        rank = func.row_number().over(partition_by=(fact.repository, fact.vm_key), order_by=fact.at.desc())
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        with self._session() as session:
            for some in _parted(vms):
                ranked = (
                    select(fact.repository, fact.vm_key, fact.at, fact.bytes_stored, rank.label("place"))
                    .where(tuple_(fact.repository, fact.vm_key).in_(some))
                    .subquery()
                )
                for row in session.execute(select(ranked).where(ranked.c.place <= most).order_by(ranked.c.at)):
                    found[(row.repository, row.vm_key)].append(row.bytes_stored)
        return dict(found)

    def count(self, vm_key: str) -> int:
        """Return the number of a VM's points, in all repositories."""
        with self._session() as session:
            return session.scalar(select(func.count()).where(PointRow.vm_key == vm_key)) or 0

    def points(self, vm_key: str, *, first: int, most: int) -> list[ListedPoint]:
        """Return some points of a VM, the newest first.

        :param first: number of newer points that are left out.
        """
        order = (PointRow.taken_at.desc(), PointRow.ref.desc())
        with self._session() as session:
            chosen = select(PointRow).where(PointRow.vm_key == vm_key).order_by(*order).offset(first).limit(most)
            return _listed(session, list(session.scalars(chosen)))

    def points_named(self, point_ids: Collection[str]) -> dict[str, ListedPoint]:
        """Return some points by their ids; those that are not there are left out."""
        with self._session() as session:
            # The last of two copies of a point wins, and it is that of the first repository.
            query = select(PointRow).where(PointRow.id.in_(point_ids)).order_by(PointRow.repository.desc())
            found = {row.id: row for row in session.scalars(query)}
            return {each.id: each for each in _listed(session, list(found.values()))}

    def place_of(self, point_id: str) -> tuple[str, int] | None:
        """Return the key of a point's VM, and the number of the VM's newer points; ``None``: there is no such point."""
        with self._session() as session:
            query = select(PointRow).where(PointRow.id == point_id).order_by(PointRow.repository).limit(1)
            found = session.scalar(query)
            if found is None:
                return None
            newer = or_(
                PointRow.taken_at > found.taken_at,
                and_(PointRow.taken_at == found.taken_at, PointRow.ref > found.ref),
            )
            number = session.scalar(select(func.count()).where(PointRow.vm_key == found.vm_key, newer))
            return found.vm_key, number or 0

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


def _alone(session: Session) -> None:
    """Let PostgreSQL answer the questions of a session in one process.

    It would let each helper group all points for itself, so that a click costs as much CPU again for each of them.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SET LOCAL max_parallel_workers_per_gather = 0"))


def _bad_points() -> Any:
    """Return the points that are damaged or suspect, each once."""
    row = NotedMarkRow
    return select(row.repository, row.ref).where(row.kind.in_(_BAD)).distinct().subquery()


def _summary(row: Any) -> VmSummary:
    is_good = row.good is not None
    return VmSummary(
        repository=row.repository,
        vm_key=row.vm_key,
        vm_name=row.vm_name,
        policy=row.policy,
        points=row.points,
        capacity=row.capacity,
        bytes_stored=int(row.stored or 0),
        ref=row.ref if is_good else None,
        newest=_time(row.good) if is_good else None,
        bad=row.bad,
        told_by=row.ref,
    )


def _listed(session: Session, points: Sequence[PointRow]) -> list[ListedPoint]:
    """Return points with the rows of the other tables that belong to them."""
    facts = _by_point(session, FactRow, points)
    sources = _by_point(session, SourceRow, points)
    guests = _by_point(session, GuestRow, points)
    disks = _by_point(session, DiskRow, points)
    disk_facts = _by_point(session, DiskFactRow, points)
    marks = _by_point(session, NotedMarkRow, points)
    proofs = _by_point(session, NotedProofRow, points)
    found = []
    for point in points:
        at = (point.repository, point.ref)
        fact, source, guest = (next(iter(rows.get(at, ())), None) for rows in (facts, sources, guests))
        details = {each.key: each for each in disk_facts.get(at, ())}
        found.append(
            ListedPoint(
                repository=point.repository,
                ref=point.ref,
                id=point.id,
                vm_key=point.vm_key,
                vm_name=point.vm_name,
                taken_at=point.taken_at,
                run=point.run,
                policy=fact.policy if fact else "",
                kind=point.kind,
                consistency=point.consistency,
                capacity=fact.capacity if fact else 0,
                bytes_read=point.bytes_read,
                bytes_stored=point.bytes_stored,
                seconds=fact.longest if fact else None,
                warnings=point.warnings,
                vcenter=source.vcenter if source else None,
                moref=source.moref if source else None,
                inventory_path=source.inventory_path if source else None,
                server=source.server if source else None,
                addresses=tuple(guest.addresses.split()) if guest else (),
                dns_name=guest.dns_name if guest else None,
                disks=tuple(_disk(each, details.get(each.key)) for each in sorted(disks.get(at, ()), key=_key)),
                marks=tuple(NotedMark(**_fields(NotedMark, vars(each))) for each in marks.get(at, ())),
                proofs=tuple(NotedProof(**_fields(NotedProof, vars(each))) for each in proofs.get(at, ())),
            )
        )
    return found


def _by_point(session: Session, table: Any, points: Sequence[PointRow]) -> dict[tuple[str, str], list[Any]]:
    """Return the rows of a table that belong to some points, by repository and ref."""
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for some in _parted([(point.repository, point.ref) for point in points]):
        for row in session.scalars(select(table).where(tuple_(table.repository, table.ref).in_(some))):
            found[(row.repository, row.ref)].append(row)
    return found


def _disk(row: DiskRow, fact: DiskFactRow | None) -> ListedDisk:
    return ListedDisk(
        key=row.key,
        label=row.label,
        address=row.address,
        capacity=row.capacity,
        backing=row.backing,
        skipped=row.skipped,
        kind=row.kind,
        reason=row.reason,
        full_reason=fact.full_reason if fact else None,
        bytes_read=fact.bytes_read if fact else 0,
        bytes_stored=fact.bytes_stored if fact else 0,
        tracked=bool(fact and fact.tracked),
    )


def _key(row: DiskRow) -> int:
    return row.key


def _fields(kind: Any, values: Any) -> dict[str, Any]:
    return {name: values[name] for name in kind.__dataclass_fields__}


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _parted(rows: Iterable[T]) -> Iterator[list[T]]:
    waiting = iter(rows)
    while some := list(islice(waiting, _AT_ONCE)):
        yield some
