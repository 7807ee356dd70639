"""Connects to the catalog's database, of any kind, and makes its tables.

Every error of a database, its driver or its URL becomes a :class:`CatalogError`.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, MetaData, create_engine, event, inspect, make_url
from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError

from vmkeep.catalog.earlier import take_over
from vmkeep.catalog.schema import Base
from vmkeep.clock import Deadline
from vmkeep.errors import CatalogError
from vmkeep.extras import how_to_install

_PATIENCE: Final[dict[str, dict[str, Any]]] = {
    "pysqlite": {"timeout": 30},
    "psycopg2": {"connect_timeout": 10, "tcp_user_timeout": 60_000, "keepalives_idle": 30, "keepalives_interval": 10},
    "psycopg": {"connect_timeout": 10, "tcp_user_timeout": 60_000, "keepalives_idle": 30, "keepalives_interval": 10},
    "pymysql": {"connect_timeout": 10},
    "mysqldb": {"connect_timeout": 10},
}
"""The time that each driver waits for a server or for another writer, because a cache must not delay a backup: seconds,
and milliseconds in ``tcp_user_timeout``."""
_LOCK_SECONDS: Final = 30.0
"""Seconds that PostgreSQL lets a statement wait for a lock of somebody else: a migration, or a forgotten session."""
_STATEMENT_SECONDS: Final = 900.0
"""Seconds that PostgreSQL gives to one statement. The longest that is sound takes a tenth of it."""
_PAUSE: Final = 0.02
"""Seconds between two tries to switch a SQLite file to its write-ahead log."""
_PRIMARY_CODE: Final = 0xFF
"""Mask for SQLite's primary result code, because an extended one (`SQLITE_BUSY_RECOVERY`) holds it in its low byte."""


@contextmanager
def open_engine(url: str) -> Iterator[Engine]:
    """Connect to the database at a SQLAlchemy URL, and make the catalog's missing tables.

    :raises CatalogError: the kind of database is unknown, its driver is missing, or it cannot be reached or refuses.
    """
    with speaking(url):
        engine = _engine(make_url(url))
    try:
        with speaking(url):
            take_over(engine, make_tables(engine, Base.metadata))
        yield engine
    finally:
        engine.dispose()


@contextmanager
def speaking(url: str | URL) -> Iterator[None]:
    """Turn errors of a database, of its driver or of the operating system into a :class:`CatalogError`."""
    try:
        yield
    except (SQLAlchemyError, ImportError, OSError, ValueError, TypeError) as error:
        raise CatalogError(f"catalog {_shown(url)}: {_cause(error, url)}") from error


def _engine(url: URL) -> Engine:
    """Return an engine for a URL, without connecting yet."""
    is_file = url.get_backend_name() == "sqlite"
    if is_file and url.database and not url.database.startswith((":memory:", "file:")):
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args=_PATIENCE.get(url.get_driver_name(), {}))
    if is_file:
        event.listen(engine, "connect", lambda connection, _: write_ahead(connection))
    elif url.get_backend_name() == "postgresql":
        event.listen(engine, "connect", lambda connection, _: _bound_waits(connection))
    return engine


def _bound_waits(connection: Any) -> None:
    """Bound how long a statement may wait for a lock, and take at all. By itself, PostgreSQL waits for ever."""
    with closing(connection.cursor()) as cursor:
        cursor.execute(f"SET lock_timeout = {_LOCK_SECONDS * 1000:.0f}")
        cursor.execute(f"SET statement_timeout = {_STATEMENT_SECONDS * 1000:.0f}")
    connection.commit()


def write_ahead(connection: sqlite3.Connection) -> None:
    """Switch a SQLite file to its write-ahead log, so that readers go on while somebody writes.

    Several processes may open a new file at once, and each of them switches it. SQLite does not wait for another
    writer here as it does elsewhere, because two that switch could wait for each other; so this function tries again.
    """
    deadline = Deadline(_PATIENCE["pysqlite"]["timeout"], waiting_for="the switch to the write-ahead log")
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or not deadline.remaining:
                raise
            time.sleep(_PAUSE)


def make_tables(engine: Engine, tables: MetaData) -> set[str]:
    """Make the missing tables, which another process may make at the same time. Return the tables found before."""
    wanted, found = set(tables.tables), set(inspect(engine).get_table_names())
    if wanted <= found:
        return found
    for _ in wanted:  # because each failed try means that another process made at least one table
        try:
            tables.create_all(engine)
            return found
        except SQLAlchemyError:
            if not wanted & set(inspect(engine).get_table_names()):
                raise
    tables.create_all(engine)
    return found


def _shown(url: str | URL) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError):
        return "(its URL)"


def _cause(error: Exception, url: str | URL) -> str:
    """Return the reason in one line. A URL that cannot be parsed is not repeated, because it may hold a password."""
    if isinstance(error, NoSuchModuleError):
        return "no kind of database that is known here: use sqlite:///FILE or postgresql+psycopg2://USER@HOST/NAME"
    if isinstance(error, ImportError):
        return _missing_driver(error, make_url(url))
    if _shown(url) == "(its URL)":
        return "not a database URL: use sqlite:///FILE or postgresql+psycopg2://USER@HOST/NAME"
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def _missing_driver(error: ImportError, url: URL) -> str:
    missing = f"the driver of this kind of database is not installed ({error})"
    if url.get_backend_name() != "postgresql":
        return missing
    return f"{missing}; name it in the URL, postgresql+psycopg2://, and {how_to_install('postgres')}"
