"""A catalog in the tables of the first layout, as programs before this one have left it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Engine,
    Float,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    select,
)  # fmt: skip

from vmkeep.catalog.schema import Base, DiskRow, PointRow

FIRST = MetaData()


def _table(name: str, *columns: Any, keys: tuple[str, ...] = (), of: tuple[ForeignKeyConstraint, ...] = ()) -> Table:
    own = (Column("repository", String(64), primary_key=True), Column("ref", String(255), primary_key=True))
    named = (Column(key, Integer, primary_key=True, autoincrement=False) for key in keys)
    return Table(name, FIRST, *own, *named, *columns, *of, sqlite_with_rowid=name == "vmkeep_point")


_table(
    "vmkeep_point",
    Column("id", String(64), nullable=False, index=True), Column("vm_key", String(190), nullable=False, index=True),
    Column("vm_name", String(255), nullable=False, index=True),
    Column("taken_at", DateTime(timezone=True), nullable=False), Column("run", String(255), nullable=False),
    Column("kind", String(32), nullable=False), Column("consistency", String(32), nullable=False),
    Column("bytes_read", BigInteger, nullable=False), Column("bytes_stored", BigInteger, nullable=False),
    Column("warnings", Integer, nullable=False),
)  # fmt: skip
_table(
    "vmkeep_source",
    Column("vcenter", String(64)), Column("moref", String(64)), Column("inventory_path", Text),
    Column("server", String(255)),
)  # fmt: skip
_table("vmkeep_guest", Column("addresses", Text, nullable=False), Column("dns_name", Text))
_table(
    "vmkeep_fact",
    Column("vm_key", String(190), nullable=False), Column("vm_name", String(255), nullable=False),
    Column("at", BigInteger, nullable=False), Column("policy", String(60), nullable=False),
    Column("kind", String(32), nullable=False), Column("capacity", BigInteger, nullable=False),
    Column("bytes_read", BigInteger, nullable=False), Column("bytes_stored", BigInteger, nullable=False),
    Column("longest", Float), Column("seconds", Float),
)  # fmt: skip
_table(
    "vmkeep_disk",
    Column("label", Text, nullable=False), Column("address", String(32), nullable=False),
    Column("capacity", BigInteger, nullable=False), Column("backing", String(64), nullable=False),
    Column("skipped", String(32)), Column("kind", String(32)), Column("reason", Text), Column("root", String(128)),
    keys=("key",),
    of=(
        ForeignKeyConstraint(
            ["repository", "ref"], ["vmkeep_point.repository", "vmkeep_point.ref"], ondelete="CASCADE"
        ),
    ),
)  # fmt: skip
_table(
    "vmkeep_disk_fact",
    Column("bytes_read", BigInteger, nullable=False), Column("bytes_stored", BigInteger, nullable=False),
    Column("full_reason", String(32)), Column("tracked", Boolean, nullable=False),
    Column("expects_tracking", Boolean, nullable=False), Column("unasked", Boolean, nullable=False),
    keys=("key",),
)  # fmt: skip
Table(
    "vmkeep_summed_repository",
    FIRST,
    Column("repository", String(64), primary_key=True),
    Column("whole", Boolean, nullable=False),
)


def step_back(engine: Engine, *, keep_new: bool = False) -> None:
    """Move all points of a catalog into tables of the first layout.

    :param keep_new: leave the tables of this layout, too, as if an older program had used the database afterwards.
    """
    FIRST.create_all(engine)
    with engine.begin() as connection:
        for table in FIRST.sorted_tables:
            if "ref" not in table.c:
                continue
            names = [column.name for column in table.c]
            of_disk = {name: getattr(DiskRow, name) for name in names if hasattr(DiskRow, name)}
            of_point = {name: getattr(PointRow, name) for name in names if hasattr(PointRow, name)}
            if "key" in names:
                told = of_point | of_disk
                query = select(*(told[name] for name in names)).join(DiskRow, DiskRow.point == PointRow.number)
            else:
                query = select(*(of_point[name] for name in names))
            connection.execute(insert(table).from_select(names, query))
    if not keep_new:
        Base.metadata.drop_all(engine)
