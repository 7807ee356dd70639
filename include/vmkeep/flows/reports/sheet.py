"""A table of a report as CSV (RFC 4180), for spreadsheets and programs. Pure.

A spreadsheet runs a cell that begins with ``=``, ``+``, ``-`` or ``@`` as a formula. Names come from vSphere, so such a
text gets an apostrophe in front. Numbers are written as numbers, sizes in bytes, spans in seconds, and times in UTC.
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Final

from vmkeep.flows.reports.values import Table, Value

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_sheet(table: Table) -> str:
    """Return a table as CSV, with a line of headings."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(name for name, _ in table.columns)
    writer.writerows([_cell(value) for value in row] for row in table.rows)
    return text.getvalue()


def _cell(value: Value) -> str | int | float:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if not isinstance(value, str):
        return value
    plain = "".join(each if each.isprintable() else " " for each in value)
    return f"'{plain}" if plain.lstrip().startswith(_FORMULA) or value.startswith(_FORMULA) else plain
