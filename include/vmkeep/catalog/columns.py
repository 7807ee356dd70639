"""Column types that read only what belongs into their column.

SQLite keeps any value in any column. So a value that another program wrote there, or that a bad disk made, would come
up far from the catalog, as a number that is text. These types refuse it where it is read, and name its column. Other
databases have such types themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

from sqlalchemy import Column, DateTime, MetaData, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_SHOWN: Final = 40
"""Characters of a value that an error shows."""
LOOSE: Final = "sqlite"
"""The kind of database that keeps any value in any column."""
_KEPT_AS: Final[dict[type, tuple[type, ...]]] = {
    str: (str,), int: (int,), bool: (int,), float: (float, int), datetime: (str,),
}  # fmt: skip
"""Types in which SQLite gives the values of a column, by the type that they stand for."""


class Checked(TypeDecorator[Any]):
    """Another type, whose values are checked as they are read. NULL is left to the constraints of the column."""

    impl: Any = TypeEngine
    cache_ok = True

    def __init__(self, kind: TypeEngine[Any], where: str, remedy: str) -> None:
        """:param where: table and column.

        :param remedy: what a person does about a value that does not belong there.
        """
        super().__init__()
        self.impl: Any = kind
        self.where = where
        self.remedy = remedy

    def result_processor(self, dialect: Dialect, coltype: Any) -> Callable[[Any], Any] | None:
        """Return the function that takes a value from the database; ``None``: it is taken as it is."""
        process = super().result_processor(dialect, coltype)
        if dialect.name != LOOSE:
            return process
        wanted = _KEPT_AS[self.impl_instance.python_type]

        def as_it_is(value: Any) -> Any:
            if value is None or isinstance(value, wanted):
                return value
            raise self._refused(value)

        def processed(value: Any) -> Any:
            if value is not None and not isinstance(value, wanted):
                raise self._refused(value)
            try:
                return process(value) if process else value
            except ValueError:
                raise self._refused(value) from None

        return processed if process else as_it_is

    def _refused(self, value: object) -> ValueError:
        shown = repr(value)
        return ValueError(
            f"column {self.where} holds {shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}…'}, which does not "
            f"belong there: another program wrote it, or the disk is bad; {self.remedy}"
        )


class UtcDateTime(Checked):
    """An aware UTC time, even if the database keeps no time zone, as SQLite does not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def __init__(self, where: str = "", remedy: str = "") -> None:
        """:param where: table and column. :class:`CheckedTables` fills both in."""
        super().__init__(DateTime(timezone=True), where, remedy)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a time to UTC for the database."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return a stored time with its zone, UTC."""
        if value is None:
            return None
        stored: datetime = value
        return stored.replace(tzinfo=UTC) if stored.tzinfo is None else stored.astimezone(UTC)


class CheckedTables:
    """Lets all columns of the tables of a declarative base check what is read from them."""

    remedy: ClassVar[str]
    """The remedy for a value that does not belong where it is."""

    @classmethod
    def __table_cls__(cls, name: str, metadata: MetaData, *parts: Any, **options: Any) -> Table:
        """Make the table; SQLAlchemy calls this."""
        for part in parts:
            if isinstance(part, Column):
                where, kind = f"{name}.{part.name}", part.type
                of_time = isinstance(kind, UtcDateTime)
                part.type = UtcDateTime(where, cls.remedy) if of_time else Checked(kind, where, cls.remedy)
        return Table(name, metadata, *parts, **options)
