"""One check of data quality in the catalog: lays out its evidence, tells its questions, and keeps its report."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Engine, delete, func, insert, select, text
from sqlalchemy.orm import Session

from vmkeep.catalog.bounds import Measure, bounds_of, newest_points
from vmkeep.catalog.engine import make_tables, speaking
from vmkeep.catalog.evidence import (
    EVIDENCE,
    BadPointEvidence,
    BoundEvidence,
    CheckRow,
    DiskSampleEvidence,
    Evidence,
    PointEvidence,
    PolicyEvidence,
    QualityRow,
    SampleEvidence,
    SeverityEvidence,
    VmEvidence,
)
from vmkeep.catalog.origins import PointOrigin, origin_of
from vmkeep.catalog.questions import Asked, Question, write_questions
from vmkeep.catalog.schema import PointRow
from vmkeep.catalog.statements import parted
from vmkeep.lateclass import dataclass

KEPT: Final = 100
"""Reports that stay of each repository."""
_ABANDONED: Final = 86400
"""Seconds after which a check that has not ended counts as dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyTerms:
    """The demands of a policy. Ages are in seconds; ``None``: the policy demands none."""

    name: str
    max_age: int | None
    proved_within: int | None
    snapshots_within: int
    forbids_skipped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The severity that a policy gives to an expectation."""

    expectation: str
    policy: str
    """Empty: for VMs that no policy has."""
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VmStanding:
    """A VM and the things that are expected of it. Times are in seconds since 1970."""

    vm: str
    """Distinguishes it from every other VM."""
    name: str
    policy: str
    asked: bool
    """A vCenter has told of it just now."""
    obstacle: str | None = None
    ref: str | None = None
    newest: int | None = None
    proved: int | None = None
    snapshot: int | None = None
    snapshot_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPoint:
    """A point as its manifest tells it now; with a ``problem`` it could not be read."""

    ref: str
    name: str
    policy: str = ""
    problem: str | None = None
    at: int = 0
    kind: str = ""
    capacity: int = 0
    bytes_read: int = 0
    bytes_stored: int = 0
    disks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledDisk:
    """A disk of a sampled point, with the shape of its map; with a ``problem`` the map's root could not be read."""

    ref: str
    key: int
    name: str
    policy: str
    label: str
    root: str
    problem: str | None = None
    block_size: int = 0
    map_capacity: int = 0
    map_blocks: int = 0


_TABLES: Final[dict[type, type[Evidence]]] = {
    PolicyTerms: PolicyEvidence,
    Wish: SeverityEvidence,
    VmStanding: VmEvidence,
    SampledPoint: SampleEvidence,
    SampledDisk: DiskSampleEvidence,
}
_OF_REPOSITORY: Final = (SampledPoint, SampledDisk)
"""Evidence whose rows name the repository, because they are joined with the points' own rows."""


class QualityCheck:
    """A check that runs. Its evidence goes when it ends."""

    def __init__(self, engine: Engine, repository: str, now: datetime) -> None:
        self._engine = engine
        self._repository = repository
        self.id = uuid.uuid4().hex
        self.now = int(now.timestamp())

    def lay(self, evidence: Sequence[PolicyTerms | Wish | VmStanding | SampledPoint | SampledDisk]) -> None:
        """Lay out evidence of one kind."""
        if not evidence:
            return
        kind = type(evidence[0])
        own: dict[str, Any] = {"check_id": self.id}
        if kind in _OF_REPOSITORY:
            own["repository"] = self._repository
        self._insert(_TABLES[kind], (own | asdict(each) for each in evidence))

    def lay_points(self, bad: Iterable[str]) -> int:
        """Lay out the newest good points of each VM, and their bounds. Return the number of VMs.

        :param bad: refs of points that are known to be damaged or wrong.
        """
        self._insert(BadPointEvidence, ({"check_id": self.id, "ref": ref} for ref in bad))
        with self._session() as session:
            session.execute(newest_points(self.id, self._repository, self.now))
            self._count_rows(session, PointEvidence)
            for measure in Measure:
                session.execute(bounds_of(self.id, measure))
            newest = (PointEvidence.check_id == self.id) & (PointEvidence.age_rank == 1)
            return session.scalar(select(func.count()).where(newest)) or 0

    def measured(self) -> dict[str, int]:
        """Return the number of VMs whose newest point can be compared with the points before it, by measure."""
        bound = BoundEvidence
        number = func.count().label("number")
        query = select(bound.measure, number).where(bound.check_id == self.id).group_by(bound.measure)
        with self._session() as session:
            return {row.measure: row.number for row in session.execute(query)}

    def newest(self) -> list[tuple[str, str, str, str, int]]:
        """Return the newest good point of each VM: its key, its name, its policy, the ref, the time.

        The database is asked once, because points that were laid out do not change.
        """
        return self._newest

    @cached_property
    def _newest(self) -> list[tuple[str, str, str, str, int]]:
        row = PointEvidence
        query = select(row.vm_key, row.name, row.policy, row.ref, row.at)
        with self._session() as session:
            found = session.execute(query.where(row.check_id == self.id, row.age_rank == 1).order_by(row.vm_key))
            return [(each.vm_key, each.name, each.policy, each.ref, each.at) for each in found]

    def origins(self) -> list[PointOrigin]:
        """Return the newest good point of each VM of each vCenter, the oldest first."""
        point, told = PointEvidence, PointRow
        place = (point.vm_key, told.vcenter, told.moref)
        rank = func.row_number().over(partition_by=place, order_by=point.age_rank).label("place")
        ranked = (
            select(*place, point.ref, point.at, told.addresses, told.dns_name, rank)
            .where(point.check_id == self.id)
            .join(told, (told.repository == point.repository) & (told.ref == point.ref))
            .subquery()
        )
        with self._session() as session:
            query = select(ranked).where(ranked.c.place == 1).order_by(ranked.c.at, ranked.c.ref)
            return [origin_of(row, datetime.fromtimestamp(row.at, UTC)) for row in session.execute(query)]

    def refs_of(self, vm_key: str) -> set[str]:
        """Return the refs of all points of a VM that the catalog has."""
        with self._session() as session:
            query = select(PointRow.ref).where(PointRow.repository == self._repository, PointRow.vm_key == vm_key)
            return set(session.scalars(query))

    def questions(self, severities: Mapping[str, str]) -> tuple[Question, ...]:
        """Return the questions to ask the database about this check.

        :param severities: the severity of each expectation for VMs whose policy says nothing; only these are asked.
        """
        with self._session() as session:
            self._count_rows(session, *EVIDENCE)
        return write_questions(Asked(check_id=self.id, now=self.now), severities, self._engine.dialect)

    def keep(self, report: str) -> None:
        """Keep the report of this check, and the newest ones before it.

        :param report: JSON.
        """
        row = QualityRow
        with self._session() as session:
            # Two checks may end within one second, and the later one is the newest all the same.
            last = session.scalar(select(func.max(row.at)).where(row.repository == self._repository))
            at = max(self.now, (last or 0) + 1)
            session.add(QualityRow(check_id=self.id, repository=self._repository, at=at, report=report))
            session.flush()
            ids = select(row.check_id).where(row.repository == self._repository).order_by(row.at.desc(), row.check_id)
            stale = list(session.scalars(ids.offset(KEPT)))
            session.execute(delete(row).where(row.check_id.in_(stale)))

    def begin(self) -> None:
        """Enter the check, and delete the evidence of checks that died."""
        with self._session() as session:
            dead = list(session.scalars(select(CheckRow.check_id).where(CheckRow.began < self.now - _ABANDONED)))
            session.add(CheckRow(check_id=self.id, repository=self._repository, began=self.now))
        for check_id in dead:
            self._drop(check_id)

    def end(self) -> None:
        """Delete the evidence."""
        self._drop(self.id)

    def _count_rows(self, session: Session, *tables: type[Evidence]) -> None:
        """Let the database count what a check has just laid out.

        PostgreSQL takes a table that it has not counted for nearly empty, and then compares each row with each other.
        """
        if self._engine.dialect.name in ("postgresql", "sqlite"):
            for table in tables:
                session.execute(text(f"ANALYZE {table.__tablename__}"))

    def _drop(self, check_id: str) -> None:
        with self._session() as session:
            for table in EVIDENCE:
                session.execute(delete(table).where(table.check_id == check_id))

    def _insert(self, table: type[Evidence], rows: Iterable[dict[str, Any]]) -> None:
        with self._session() as session:
            for some in parted(rows):
                session.execute(insert(table), some)

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


@contextmanager
def open_check(engine: Engine, repository: str, now: datetime) -> Iterator[QualityCheck]:
    """Begin a check of one repository's points, and end it when the context is left."""
    with speaking(engine.url):
        make_tables(engine, Evidence.metadata)
    check = QualityCheck(engine, repository, now)
    check.begin()
    try:
        yield check
    finally:
        check.end()


def kept_reports(engine: Engine, repository: str, most: int) -> list[str]:
    """Return the newest reports (JSON) on one repository's points, the newest first."""
    with speaking(engine.url):
        make_tables(engine, Evidence.metadata)
        row = QualityRow
        query = select(row.report).where(row.repository == repository).order_by(row.at.desc(), row.check_id).limit(most)
        with Session(engine) as session:
            return list(session.scalars(query))
