"""Enters the rows of many restore points in few transactions, and takes them out again.

A refresh may have 100,000 points to enter. One transaction for each of them costs twenty times the CPU seconds of
one for a few hundred, so points are entered in batches. If a database refuses a batch, halves of it are tried, so that
one point that does not fit keeps no other one out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import delete, exists, func, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from vmkeep.catalog.columns import LOOSE
from vmkeep.catalog.inserting import insert_rows
from vmkeep.catalog.rows import PointRows
from vmkeep.catalog.schema import DiskRow, PointRow, SummedRepositoryRow, SummedVmRow
from vmkeep.catalog.statements import parted
from vmkeep.catalog.sums import sum_again
from vmkeep.errors import CatalogError

Sessions = Callable[[], AbstractContextManager[Session]]
"""Begins a transaction, which ends with the context."""
_BATCH: Final = 500
"""Points of one transaction. More of them would save no more time, and would be lost together if the process dies."""
_POINTS: Final[Any] = PointRow.__table__
_DISKS: Final[Any] = DiskRow.__table__
"""Rows are deleted by tables, because SQLAlchemy may read what it deletes by a class, and values may be spoilt."""


def enter_all(sessions: Sessions, repository: str, points: Iterable[PointRows]) -> dict[str, str]:
    """Enter points of one repository; return the reason for each that the database refuses, by its ref.

    To enter a point twice, or from two machines at once, is success.

    :raises CatalogError: the database fails. All batches before are entered.
    """
    refused: dict[str, str] = {}
    for some in parted(points, _BATCH):
        refused |= _enter(sessions, repository, some)
    return refused


def _enter(sessions: Sessions, repository: str, points: Sequence[PointRows]) -> dict[str, str]:
    try:
        with sessions() as session:
            _insert(session, repository, points)
    except CatalogError as error:
        if not isinstance(error.__cause__, DataError | IntegrityError):
            raise
        if len(points) > 1:
            middle = len(points) // 2
            return _enter(sessions, repository, points[:middle]) | _enter(sessions, repository, points[middle:])
        is_there = isinstance(error.__cause__, IntegrityError)
        return {} if is_there else {points[0].point["ref"]: str(error)}
    return {}


def _insert(session: Session, repository: str, points: Sequence[PointRows]) -> None:
    """Insert the rows of points, and count the points of their VMs again.

    Rows that are there stay as they are. The order of the points is that of their refs, whatever order the caller has,
    because each of two transactions that insert the same rows in different orders may wait for the other one.
    """
    ordered = sorted(points, key=lambda each: each.point["ref"])
    connection = session.connection()
    insert_rows(connection, _POINTS, [each.point for each in ordered])
    numbers = _numbers(session, repository, [each.point["ref"] for each in ordered])
    numbered = [(numbers[ref], each) for each in ordered if (ref := each.point["ref"]) in numbers]
    insert_rows(connection, _DISKS, [{"point": number} | disk for number, each in numbered for disk in each.disks])
    sum_again(session, repository, {each.point["vm_key"] for each in ordered})


def _numbers(session: Session, repository: str, refs: Sequence[str]) -> dict[str, int]:
    """Return the numbers that the database has given to points, by ref."""
    query = select(PointRow.ref, PointRow.number).where(PointRow.repository == repository, PointRow.ref.in_(refs))
    return {row.ref: row.number for row in session.execute(query)}


def forget_all(session: Session, repository: str, refs: Iterable[str]) -> None:
    """Take points out, with all their rows."""
    for some in parted(refs, _BATCH):
        these = (PointRow.repository == repository, PointRow.ref.in_(some))
        session.execute(delete(_DISKS).where(DiskRow.point.in_(select(PointRow.number).where(*these))))
        session.execute(delete(_POINTS).where(*these))


def forget_repository(session: Session, repository: str) -> None:
    """Take all points of a repository out, and rows of no repository, which no rebuild of one would replace.

    SQLite keeps any value in any column, so that a row may name a repository or a point by something that is no name.
    """
    of_it = PointRow.repository == repository
    if session.get_bind().dialect.name == LOOSE:
        of_it |= func.typeof(PointRow.repository) != "text"
        sums: tuple[Any, ...] = (SummedVmRow.__table__, SummedRepositoryRow.__table__)
        for table in sums:
            session.execute(delete(table).where(func.typeof(table.c.repository) != "text"))
    of_another = exists().where(PointRow.number == DiskRow.point, ~of_it)
    session.execute(delete(_DISKS).where(~of_another))
    session.execute(delete(_POINTS).where(of_it))
