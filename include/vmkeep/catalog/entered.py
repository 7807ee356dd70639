"""Enters the rows of many restore points in few transactions, and takes them out again.

A refresh may have 100,000 points to enter. One transaction for each of them costs twenty times the CPU seconds of
one for a few hundred, so points are entered in batches. If a database refuses a batch, halves of it are tried, so that
one point that does not fit keeps no other one out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, exists, func, insert, or_, select, union_all
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session

from vmkeep.catalog.columns import LOOSE
from vmkeep.catalog.rows import TABLES, PointRows
from vmkeep.catalog.schema import Base, FactRow, GuestRow, PointRow, SourceRow
from vmkeep.catalog.statements import parted
from vmkeep.catalog.sums import sum_again
from vmkeep.errors import CatalogError

Sessions = Callable[[], AbstractContextManager[Session]]
"""Begins a transaction, which ends with the context."""
_BATCH: Final = 500
"""Points of one transaction. More of them would save no more time, and would be lost together if the process dies."""


def enter_all(sessions: Sessions, points: Iterable[PointRows]) -> dict[str, str]:
    """Enter points; return the reason for each that the database refuses, by its ref.

    To enter a point twice, or from two machines at once, is success.

    :raises CatalogError: the database fails. All batches before are entered.
    """
    refused: dict[str, str] = {}
    for some in parted(points, _BATCH):
        refused |= _enter(sessions, some)
    return refused


def _enter(sessions: Sessions, points: Sequence[PointRows]) -> dict[str, str]:
    try:
        with sessions() as session:
            _insert(session, points)
    except CatalogError as error:
        if not isinstance(error.__cause__, DataError | IntegrityError):
            raise
        if len(points) > 1:
            middle = len(points) // 2
            return _enter(sessions, points[:middle]) | _enter(sessions, points[middle:])
        is_there = isinstance(error.__cause__, IntegrityError)
        return {} if is_there else {points[0][PointRow][0]["ref"]: str(error)}
    return {}


def _insert(session: Session, points: Sequence[PointRows]) -> None:
    """Insert the rows of points, those first to which others refer, and count the points of their VMs again.

    Rows that are there stay as they are. The order of the points is that of their refs, whatever order the caller has,
    because each of two transactions that insert the same rows in different orders may wait for the other one.
    """
    ordered = sorted(points, key=lambda point: (point[PointRow][0]["repository"], point[PointRow][0]["ref"]))
    connection = session.connection()
    for table in reversed(TABLES):
        if rows := [row for point in ordered for row in point[table]]:
            connection.execute(_unless_there(table.__table__, connection.dialect.name), rows)
    vms: defaultdict[str, set[str]] = defaultdict(set)
    for point in points:
        for fact in point[FactRow]:
            vms[fact["repository"]].add(fact["vm_key"])
    for repository in sorted(vms):
        sum_again(session, repository, vms[repository])


def _unless_there(table: Any, kind: str) -> Any:
    """Return the INSERT that leaves out rows that are there, for the kinds of database that can.

    Others refuse the batch, and then the halves of it in which such a row is.
    """
    if kind == "postgresql":
        from sqlalchemy.dialects import postgresql  # takes time to import

        return postgresql.insert(table).on_conflict_do_nothing()
    if kind == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    return insert(table)


def forget_all(session: Session, repository: str, refs: Iterable[str]) -> None:
    """Take points out, with all their rows."""
    for some in parted(refs, _BATCH):
        for table in TABLES:
            session.execute(delete(table).where(table.repository == repository, table.ref.in_(some)))


def half_entered(session: Session, repository: str) -> set[str]:
    """Return the refs of points of which a part is missing: an older program entered them, which knew less.

    The database answers in one statement, because another process may enter a point between two.
    """
    parts: tuple[Any, ...] = (SourceRow, GuestRow, FactRow)
    incomplete = or_(*(~_has(part, PointRow) for part in parts))
    questions = [select(PointRow.ref).where(PointRow.repository == repository, incomplete)]
    questions += [select(part.ref).where(part.repository == repository, ~_has(PointRow, part)) for part in parts]
    return set(session.scalars(union_all(*questions)))


def _has(table: Any, of: Any) -> ColumnElement[bool]:
    return exists().where(table.repository == of.repository, table.ref == of.ref)


def drop_strays(session: Session) -> None:
    """Delete the rows of points whose repository is no text, because a rebuild of no repository replaces them."""
    if session.get_bind().dialect.name == LOOSE:
        for table in reversed(Base.metadata.sorted_tables):  # rows of the first ones are referred to by later ones
            session.execute(delete(table).where(func.typeof(table.c.repository) != "text"))
