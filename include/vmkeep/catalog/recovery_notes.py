"""Notes which recoveries and drills a repository keeps the reports of, for the page of the recoveries."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, func, insert, select
from sqlalchemy.orm import Session

from vmkeep.catalog.engine import make_tables, speaking
from vmkeep.catalog.noting import hold_notes
from vmkeep.catalog.overview_tables import Noted, NotedRecoveryRow
from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedRecovery:
    """A run of a recovery plan, or a drill of one, as its report tells it."""

    run: str
    plan: str
    drill: bool
    vcenter: str
    began: datetime
    ended: datetime | None
    """``None``: it goes on, or was interrupted."""
    healthy: int
    off: int
    """VMs that are restored and stay off as planned."""
    failed: int
    rpo: int | None
    """Seconds: the age of the oldest data at the disaster."""
    rto: int | None
    """Seconds until the last VM was as it should be; ``None``: one never was."""


class RecoveryNotes:
    """The notes of one database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        with speaking(engine.url):
            make_tables(engine, Noted.metadata)

    def note(self, repository: str, recoveries: Iterable[NotedRecovery]) -> None:
        """Replace what is noted of a repository, in one transaction."""
        rows = [
            {"repository": repository, **asdict(each), "began": _seconds(each.began), "ended": _seconds(each.ended)}
            for each in recoveries
        ]
        with speaking(self._engine.url), Session(self._engine) as session, session.begin():
            hold_notes(session, repository)
            session.execute(delete(NotedRecoveryRow).where(NotedRecoveryRow.repository == repository))
            if rows:
                session.execute(insert(NotedRecoveryRow), rows)

    def newest(self, most: int) -> list[NotedRecovery]:
        """Return the newest runs of each plan, at most so many of each, the newest first."""
        row = NotedRecoveryRow
        place = func.row_number().over(partition_by=row.plan, order_by=(row.began.desc(), row.run)).label("place")
        ranked = select(row.repository, row.run, place).subquery()
        query = (
            select(row)
            .join(ranked, (ranked.c.repository == row.repository) & (ranked.c.run == row.run))
            .where(ranked.c.place <= most)
            .order_by(row.began.desc(), row.run.desc())
        )
        with speaking(self._engine.url), Session(self._engine) as session:
            return list(map(_noted, session.scalars(query)))


def _noted(row: NotedRecoveryRow) -> NotedRecovery:
    return NotedRecovery(
        run=row.run, plan=row.plan, drill=row.drill, vcenter=row.vcenter,
        began=datetime.fromtimestamp(row.began, UTC),
        ended=None if row.ended is None else datetime.fromtimestamp(row.ended, UTC),
        healthy=row.healthy, off=row.off, failed=row.failed, rpo=row.rpo, rto=row.rto,
    )  # fmt: skip


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
