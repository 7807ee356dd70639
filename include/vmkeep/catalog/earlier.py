"""Takes over the points of a catalog whose tables a program of the first layout made.

Those programs had six tables for each point. To read all manifests again may take minutes at a remote repository, so
the rows are copied within the database, as long as there is no point in this layout. The tables of the first layout
are dropped then. A program that still uses them makes and fills them anew; the next rebuild drops them again.

Nothing rests on the copy: a refresh reads the points that it lacks, and takes out those that are gone.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, Engine, and_, case, column, func, inspect, select, table, text
from sqlalchemy.exc import SQLAlchemyError

from vmkeep.catalog.inserting import unless_there
from vmkeep.catalog.schema import DiskRow, PointRow

log = logging.getLogger(__name__)

_TABLES: Final = (
    "vmkeep_disk_fact", "vmkeep_disk", "vmkeep_fact", "vmkeep_guest", "vmkeep_source", "vmkeep_point",
    "vmkeep_summed_vm", "vmkeep_summed_repository",
)  # fmt: skip
"""The tables of the first layout. The first ones refer to later ones."""
_OF_A_POINT: Final = {
    "vmkeep_point": (
        *("repository", "ref", "id", "vm_key", "vm_name", "taken_at", "run", "kind", "consistency", "bytes_read"),
        *("bytes_stored", "warnings"),
    ),
    "vmkeep_source": ("vcenter", "moref", "inventory_path", "server"),
    "vmkeep_guest": ("addresses", "dns_name"),
    "vmkeep_fact": ("at", "policy", "capacity", "longest", "seconds"),
}
"""The columns that a point's row takes from each of its tables."""
_OF_A_DISK: Final = {
    "vmkeep_disk": ("key", "label", "address", "capacity", "backing", "skipped", "kind", "reason", "root"),
    "vmkeep_disk_fact": ("bytes_read", "bytes_stored", "full_reason", "tracked", "expects_tracking", "unasked"),
}
_LOCK_MILLISECONDS: Final = 2000
"""Time that PostgreSQL waits for the lock of a table to drop. All that use the table wait meanwhile, too."""


def take_over(engine: Engine, tables: Collection[str]) -> None:
    """Copy the points of the first layout, and drop its tables, unless there is a point in this layout already.

    Another process may do so at the same time, or may have died before it was done.

    :param tables: the names of all tables.
    """
    if "vmkeep_point" not in tables or _has_points(engine):
        return
    try:
        with engine.begin() as connection:
            _copy(connection)
    except SQLAlchemyError as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        log.info("the points that an earlier version catalogued are read from the repository again, because %s", why)
    drop_earlier(engine)


def drop_earlier(engine: Engine) -> None:
    """Drop the tables of the first layout together. Nobody reads them, so that a failure is a warning."""
    found = inspect(engine).get_table_names()
    names = [each for each in _TABLES if each in found]
    statements = [f"DROP TABLE IF EXISTS {each}" for each in names]
    try:
        with engine.begin() as connection:
            if names and engine.dialect.name == "postgresql":
                connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}"))
                connection.execute(text(f"LOCK TABLE {', '.join(reversed(names))}"))  # as an older program's writes do
            for statement in statements:
                connection.execute(text(statement))
    except SQLAlchemyError as error:
        why = " ".join(str(getattr(error, "orig", None) or error).split())
        log.warning(
            "tables of an earlier version stay in the catalog, because %s; once no older program uses them, run: %s",
            why, "; ".join(statements),
        )  # fmt: skip


def _has_points(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.execute(select(PointRow.number).limit(1)).first() is not None


def _copy(connection: Connection) -> None:
    """Copy the points of which no part is missing, each with its disks."""
    tables = {name: table(name, *map(column, ("repository", "ref", *columns))) for name, columns in _ALL.items()}
    point, disk, fact = tables["vmkeep_point"], tables["vmkeep_disk"], tables["vmkeep_disk_fact"]
    values: dict[str, Any] = {name: tables[home].c[name] for home, names in _OF_A_POINT.items() for name in names}
    of_disks = (
        select(
            disk.c.repository, disk.c.ref, func.count().label("disks"),
            func.sum(case((disk.c.skipped.is_(None), 0), else_=1)).label("skipped"),
            func.count(fact.c.key).label("told"),
        )
        .outerjoin(fact, and_(_same(fact, disk), fact.c.key == disk.c.key))
        .group_by(disk.c.repository, disk.c.ref)
        .subquery()
    )  # fmt: skip
    values |= {name: func.coalesce(of_disks.c[name], 0) for name in ("disks", "skipped")}
    query: Any = select(*values.values())
    for home in ("vmkeep_source", "vmkeep_guest", "vmkeep_fact"):
        query = query.join(tables[home], _same(tables[home], point))
    whole = func.coalesce(of_disks.c.disks, 0) == func.coalesce(of_disks.c.told, 0)
    query = query.outerjoin(of_disks, _same(of_disks, point)).where(point.c.ref.is_not(None), whole)
    query = query.select_from(point).order_by(point.c.repository, point.c.ref)
    connection.execute(unless_there(connection, PointRow.__table__).from_select(list(values), query))

    new = PointRow
    columns = {name: tables[home].c[name] for home, names in _OF_A_DISK.items() for name in names}
    query = (
        select(new.number, *columns.values())
        .join(disk, (disk.c.repository == new.repository) & (disk.c.ref == new.ref))
        .join(fact, and_(_same(fact, disk), fact.c.key == disk.c.key))
        .where(disk.c.ref.is_not(None))
        .order_by(new.number, disk.c.key)
    )
    connection.execute(unless_there(connection, DiskRow.__table__).from_select(["point", *columns], query))


_ALL: Final = _OF_A_POINT | _OF_A_DISK | {"vmkeep_disk_fact": ("key", *_OF_A_DISK["vmkeep_disk_fact"])}


def _same(one: Any, other: Any) -> Any:
    """Return the condition that rows of two tables are of one point."""
    return and_(one.c.repository == other.c.repository, one.c.ref == other.c.ref)
