"""The demo's table: what each task took, read, stored and how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table; ``None`` where a number makes no sense."""

    run: str
    task: str
    seconds: float
    bytes_read: int | None = None
    bytes_stored: int | None = None


def backup_rows(
    name: str, *, seconds: float, copies: Sequence[Mapping[str, Any]], sealed: Mapping[str, Any]
) -> list[Row]:
    """Return a line per copied disk, and one for the run."""
    rows = [
        Row(run=name, task=f"copy {copy['disk']['label']} ({copy['kind']})", seconds=copy["seconds"],
            bytes_read=copy["bytes_read"], bytes_stored=copy["bytes_stored"])
        for copy in copies
    ]  # fmt: skip
    rows.append(Row(run=name, task="whole run", seconds=seconds, bytes_read=sealed["bytes_read"],
                    bytes_stored=sealed["bytes_stored"]))  # fmt: skip
    return rows


def restore_rows(name: str, *, seconds: float, writes: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return a line per written disk, and one for the run. What a restore reads, it writes."""
    rows = [
        Row(run=name, task=f"write {write['target_file'].rpartition('/')[2]}", seconds=write["seconds"],
            bytes_read=write["bytes_written"])
        for write in writes
    ]  # fmt: skip
    rows.append(
        Row(run=name, task="whole run", seconds=seconds, bytes_read=sum(write["bytes_written"] for write in writes))
    )
    return rows


def print_table(rows: Sequence[Row], console: Console) -> None:
    """Print it."""
    table = Table(title="What was done", title_justify="left")
    table.add_column("run")
    table.add_column("task")
    for name in ("time", "read", "stored", "rate"):
        table.add_column(name, justify="right")
    shown = ""
    for row in rows:
        if shown and row.run != shown:
            table.add_section()
        rate = row.bytes_read / row.seconds if row.bytes_read and row.seconds and row.task != "whole run" else None
        table.add_row(
            row.run if row.run != shown else "", row.task, f"{row.seconds:.1f} s", size(row.bytes_read),
            size(row.bytes_stored), f"{size(rate)}/s" if rate else "",
        )  # fmt: skip
        shown = row.run
    console.print(table)


def size(count: float | None) -> str:
    """Return a number of bytes for a person."""
    if count is None:
        return ""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"
