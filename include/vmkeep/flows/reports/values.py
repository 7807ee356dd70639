"""The values of a report: a title, facts, and tables of plain values, each column of one kind."""

from __future__ import annotations

from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import size


class Kind(StrEnum):
    """The kind of the values in a column. A value may be missing, ``None``."""

    TEXT = "text"
    NUMBER = "number"
    BYTES = "bytes"
    SECONDS = "seconds"
    SHARE = "share"
    """From 0 to 1."""
    TIME = "time"
    """Aware, in UTC."""
    STATE = "state"
    """One of ``GOOD``, ``BAD``, ``OPEN``, ahead of the words: ``good: …``."""


Value = str | int | float | datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a report."""

    id: str
    """Name in documents and files: small letters and ``-``."""
    title: str
    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Value, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a row that does not fit the columns, because a shifted cell tells a falsehood."""
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"table {self.id}: a row of {len(wrong[0])} cells for {len(self.columns)} columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report about one repository."""

    title: str
    at: datetime
    """The time that the report shows."""
    facts: tuple[tuple[str, str], ...]
    """The facts on which the tables rest, in words, by name."""
    notes: tuple[str, ...]
    """The limits of the report, and what could not be looked at."""
    tables: tuple[Table, ...]


GOOD, BAD, OPEN = "good", "bad", "open"
"""The words with which a state begins: as it should be, not as it should be, and nobody can tell."""


def shown(value: Value, kind: Kind, zone: tzinfo) -> str:
    """Return a value as people read it. A missing one is an empty text.

    :param zone: the time zone in which times are shown.
    """
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M}"
    if isinstance(value, str):
        return value
    if kind is Kind.BYTES:
        return size(value)
    if kind is Kind.SHARE:
        return f"{100 * value:.1f} %"
    return _span(value) if kind is Kind.SECONDS else f"{value:,}"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes / 60
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} d"


def document_of(report: Report) -> dict[str, Any]:
    """Return a report as a document for a program: sizes in bytes, times in UTC, spans in seconds."""
    return {
        "title": report.title,
        "at": report.at,
        "facts": dict(report.facts),
        "notes": list(report.notes),
        **{
            table.id: [
                {name.lower().replace(" ", "_"): cell for (name, _), cell in zip(table.columns, row, strict=True)}
                for row in table.rows
            ]
            for table in report.tables
        },
    }
