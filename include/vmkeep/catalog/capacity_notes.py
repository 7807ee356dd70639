"""Notes the sizes of a repository day by day, its checks, and the points that retention lets go next.

They are for the page of the repositories. Days stay, because they are the only history of a repository's size. Checks
stay for as long as the slowest useful turn of re-reading takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from vmkeep.catalog.engine import make_tables, speaking
from vmkeep.catalog.noting import hold_notes
from vmkeep.catalog.overview_tables import Noted, NotedCheckRow, NotedDayRow, NotedLeavingRow, NotedRepositoryRow
from vmkeep.catalog.schema import PointRow
from vmkeep.lateclass import dataclass

_CHECKS_FOR: Final = timedelta(days=400)
"""Age at which the note of a check goes."""
_DAY: Final = 86400


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedDay:
    """The sizes of a repository at one day, in bytes; see :class:`NotedDayRow`."""

    at: datetime
    points: int
    protected: int
    bytes_read: int
    bytes_added: int
    bytes_stored: int
    free: int | None = None
    locked_for: timedelta | None = None
    locked: int | None = None
    locked_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedCheck:
    """A check of a repository; see :class:`NotedCheckRow`."""

    at: datetime
    part: int
    parts: int
    findings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedLeaving:
    """The points that retention lets go at a day; see :class:`NotedLeavingRow`."""

    day: datetime
    """The beginning of the day."""
    points: int
    vms: int
    bytes_added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryNotes:
    """Everything that is noted of one repository."""

    repository: str
    location: str
    days: tuple[NotedDay, ...]
    """Oldest first."""
    checks: tuple[NotedCheck, ...]
    """Oldest first."""
    leaving: tuple[NotedLeaving, ...] | None
    """By day; ``None``: no look knew the retention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CataloguedPoint:
    """The facts of a point that retention needs."""

    ref: str
    vm_key: str
    vm_name: str
    vcenter: str | None
    moref: str | None
    taken_at: datetime
    policy: str
    """Empty: a person made it."""
    bytes_added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over all points of a repository. Sizes are in bytes."""

    points: int
    protected: int
    bytes_read: int
    bytes_added: int


class CapacityNotes:
    """The notes of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with speaking(engine.url):
            make_tables(engine, Noted.metadata)

    def totals(self, repository: str) -> Totals:
        """Return the sums over all points."""
        row = PointRow
        query = select(
            func.count(), func.sum(row.capacity), func.sum(row.bytes_read), func.sum(row.bytes_stored)
        ).where(row.repository == repository)  # fmt: skip
        with speaking(self._engine.url), Session(self._engine) as session:
            points, protected, read, added = session.execute(query).one()
        return Totals(
            points=points, protected=int(protected or 0), bytes_read=int(read or 0), bytes_added=int(added or 0)
        )

    def points(self, repository: str) -> Iterator[CataloguedPoint]:
        """Yield the facts of all points that retention needs."""
        row = PointRow
        columns = (row.ref, row.vm_key, row.vm_name, row.vcenter, row.moref, row.taken_at, row.policy)
        query = select(*columns, row.bytes_stored).where(row.repository == repository)
        with speaking(self._engine.url), Session(self._engine) as session:
            for each in session.execute(query):
                yield CataloguedPoint(
                    ref=each.ref, vm_key=each.vm_key, vm_name=each.vm_name, vcenter=each.vcenter, moref=each.moref,
                    taken_at=each.taken_at, policy=each.policy, bytes_added=each.bytes_stored,
                )  # fmt: skip

    def note_day(self, repository: str, noted: NotedDay) -> None:
        """Note the sizes in the place of those that an earlier look of the same day has noted."""
        values = {name: _number(value) for name, value in asdict(noted).items()}
        day = values["at"] // _DAY
        with self._session() as session:
            hold_notes(session, repository)
            session.execute(
                delete(NotedDayRow).where(NotedDayRow.repository == repository, NotedDayRow.day == day)
            )  # fmt: skip
            session.execute(insert(NotedDayRow).values(repository=repository, day=day, **values))

    def note_check(self, repository: str, check: NotedCheck) -> None:
        """Note a check, and forget those of long ago."""
        row, at = NotedCheckRow, int(check.at.timestamp())
        with self._session() as session:
            hold_notes(session, repository)
            old = (row.at == at) | (row.at < at - int(_CHECKS_FOR.total_seconds()))
            session.execute(delete(row).where(row.repository == repository, old))
            session.add(row(repository=repository, at=at, part=check.part, parts=check.parts, findings=check.findings))

    def note_leaving(self, repository: str, leaving: Iterable[NotedLeaving]) -> None:
        """Replace the points that retention lets go next.

        :param leaving: every day that was looked at, also those at which no point goes.
        """
        row = NotedLeavingRow
        rows = [
            {"repository": repository, **asdict(each), "day": int(each.day.timestamp()) // _DAY} for each in leaving
        ]
        with self._session() as session:
            hold_notes(session, repository)
            session.execute(delete(row).where(row.repository == repository))
            session.execute(insert(row), rows)

    def all(self, *, since: datetime) -> list[RepositoryNotes]:
        """Return the notes of each repository that was looked at.

        :param since: leave earlier days out.
        """
        with self._session() as session:
            looked = session.scalars(select(NotedRepositoryRow).order_by(NotedRepositoryRow.location))
            return [_notes(session, each, int(since.timestamp())) for each in looked]

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            yield session


def _notes(session: Session, looked: NotedRepositoryRow, since: int) -> RepositoryNotes:
    day, check, leaving = NotedDayRow, NotedCheckRow, NotedLeavingRow
    own = looked.repository
    days = session.scalars(select(day).where(day.repository == own, day.at >= since).order_by(day.day))
    checks = session.scalars(select(check).where(check.repository == own).order_by(check.at))
    going = session.scalars(select(leaving).where(leaving.repository == own).order_by(leaving.day)).all()
    return RepositoryNotes(
        repository=own,
        location=looked.location,
        days=tuple(map(_day, days)),
        checks=tuple(
            NotedCheck(at=_time(each.at), part=each.part, parts=each.parts, findings=each.findings) for each in checks
        ),
        leaving=tuple(
            NotedLeaving(
                day=_time(each.day * _DAY), points=each.points, vms=each.vms, bytes_added=each.bytes_added
            )
            for each in going
        ) if going else None,
    )  # fmt: skip


def _day(row: NotedDayRow) -> NotedDay:
    return NotedDay(
        at=_time(row.at), points=row.points, protected=row.protected, bytes_read=row.bytes_read,
        bytes_added=row.bytes_added, bytes_stored=row.bytes_stored, free=row.free,
        locked_for=None if row.locked_for is None else timedelta(seconds=row.locked_for), locked=row.locked,
        locked_until=None if row.locked_until is None else _time(row.locked_until),
    )  # fmt: skip


def _number(value: Any) -> Any:
    """Return a time in seconds since 1970, and a length of time in seconds."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    return int(value.total_seconds()) if isinstance(value, timedelta) else value


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
