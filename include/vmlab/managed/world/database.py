"""Keeps managed objects and small values across restarts, in one SQLite file.

Values are stored as the XML that they would be on the wire. Refuses to know what they mean.
"""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vmlab.api import dump, load, type_named, type_of, wsdl_name

SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (moid TEXT PRIMARY KEY, type TEXT NOT NULL, props TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""


class Database:
    """One SQLite file. Any thread may use it, under the world's lock only."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(SCHEMA)

    def objects(self) -> Iterable[tuple[Any, dict[str, Any]]]:
        """Every stored object with its properties."""
        for moid, kind, props in self._connection.execute("SELECT moid, type, props FROM objects").fetchall():
            ref = type_named(kind)(moid)
            yield ref, {name: load(xml, _kind_of(ref, name)) for name, xml in json.loads(props).items()}

    def meta(self, name: str) -> Any:
        """A small JSON value, or None."""
        row = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def commit(self, changed: dict[str, tuple[Any, dict[str, Any]]], removed: set[str], meta: dict[str, Any]) -> None:
        """Write one transaction: objects by id, ids to forget, small values by name."""
        rows = [(moid, wsdl_name(type(ref)), _encode(ref, props)) for moid, (ref, props) in changed.items()]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", rows)
            self._connection.executemany("DELETE FROM objects WHERE moid = ?", [(moid,) for moid in removed])
            values = [(name, json.dumps(value)) for name, value in meta.items()]
            self._connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _encode(ref: Any, props: dict[str, Any]) -> str:
    return json.dumps({name: dump(_typed(ref, name, value)) for name, value in props.items() if value is not None})


def _typed(ref: Any, name: str, value: Any) -> Any:
    kind = type(ref)._GetPropertyInfo(name).type
    return kind(value) if isinstance(value, list) and type_of(value) is not kind else value


def _kind_of(ref: Any, name: str) -> Any:
    kind = type(ref)._GetPropertyInfo(name).type
    return kind if issubclass(kind, list) else object
