"""Inserts many rows at once, and leaves out those that are there.

SQLAlchemy prepares each row anew, which takes a third of a rebuild's time. So the statement for SQLite is written once
and gets plain tuples. Other kinds of database get their rows from SQLAlchemy, which sends hundreds in one message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Connection, insert

from vmkeep.catalog.columns import LOOSE
from vmkeep.catalog.rows import Row

_CONFLICTS: Final = ("postgresql", LOOSE)
"""The kinds of database that can leave out rows that are there. Others refuse all rows of the statement."""


def insert_rows(connection: Connection, table: Any, rows: Sequence[Row]) -> None:
    """Insert rows, which all have the same columns.

    :raises sqlalchemy.exc.IntegrityError: a row is there, and this kind of database cannot leave it out.
    """
    if not rows:
        return
    statement = unless_there(connection, table)
    if connection.dialect.name != LOOSE:
        connection.execute(statement, rows)
        return
    names = [column.name for column in table.columns if column.name in rows[0]]
    text = str(statement.compile(dialect=connection.dialect, column_keys=names))
    connection.exec_driver_sql(text, _tuples(connection, table, names, rows))


def unless_there(connection: Connection, table: Any) -> Any:
    """Return the INSERT that leaves out rows that are there, for the kinds of database that can."""
    kind = connection.dialect.name
    if kind not in _CONFLICTS:
        return insert(table)
    from sqlalchemy.dialects import postgresql, sqlite  # take time to import

    return (sqlite if kind == LOOSE else postgresql).insert(table).on_conflict_do_nothing()


def _tuples(connection: Connection, table: Any, names: list[str], rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return the values of rows in the order of the columns, as the driver takes them."""
    values = itemgetter(*names)
    bound = _conversions(connection, table, names)
    if not bound:
        return [values(row) for row in rows]
    return [values(row | {name: convert(row[name]) for name, convert in bound.items()}) for row in rows]


def _conversions(connection: Connection, table: Any, names: list[str]) -> dict[str, Callable[[Any], Any]]:
    """Return the functions that convert values for the driver, by column. Most columns need none."""
    dialect = connection.dialect
    found = {name: table.c[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names}
    return {name: convert for name, convert in found.items() if convert is not None}
