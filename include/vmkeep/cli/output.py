"""Output for people and for scripts: lines of the log, JSON, and tables. ``bars`` draws how far a work is.

Our own values are loaded only where they are printed: every command loads this module, also one that only fails or
explains itself.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import chain, islice
from threading import Event
from typing import Any, TypeVar

import click

from vmkeep.model.fieldwords import in_options

_GAP = "  "
_BETWEEN = 3
"""Characters between two columns of a table."""
_AT_ONCE = 1000
"""Rows that are printed at a time."""
_NUMBER = re.compile(r"\d[\d.,]*(?=$|[ %])")
"""A number with or without a unit. A ref or a name may begin with a digit, and is none."""
_RULE = "─"
T = TypeVar("T")

_printed = Event()
"""Set once a JSON document is out: a command prints one, be it a result or an error."""


class LineFormat(logging.Formatter):
    """The log on standard error: one line for each record, with one prefix, like every other line there."""

    def __init__(self, *, names: bool) -> None:
        """:param names: say which part of the program speaks."""
        super().__init__("%(levelname)s: %(name)s: %(message)s" if names else "%(levelname)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the library's
        """Return the record's line, its level in small letters."""
        record.levelname = record.levelname.lower()
        return sentence(super().formatMessage(record))


def one_line(text: str) -> str:
    """Return a text whose line breaks and control characters, from somebody's names, cannot fool a terminal."""
    return "".join(each if each.isprintable() else " " if each in "\r\n\t" else escape(each) for each in text)


def print_line(text: str) -> None:
    """Print one line, in which a name that somebody has given cannot forge another one."""
    click.echo(one_line(text))


def sentence(text: str) -> str:
    """Return a message of the engine as one line that names fields by options of the command line."""
    return one_line(in_options(text))


def escape(character: str) -> str:
    """Return a character as Python writes it in a text; a byte that is no UTF-8 is an x and its number."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # Python's stand-in for a byte
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def warn(text: str) -> None:
    """Print a warning on standard error."""
    click.echo(f"warning: {sentence(text)}", err=True)


@contextmanager
def own_output() -> Iterator[None]:
    """Send to standard error whatever others print meanwhile, so that standard output has the command's answer alone.

    Some libraries, such as Airflow, set up logging to standard output when they are imported.
    """
    with redirect_stdout(sys.stderr):
        yield


@contextmanager
def own_log() -> Iterator[None]:
    """Keep the command's own log, with its level and its lines on standard error, from others who set up another."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def print_error_document(document: dict[str, object]) -> None:
    """Print an error as JSON, unless the command's own document, with what was found, is out already."""
    if not _printed.is_set():
        print_json(document)


def print_json(value: object) -> None:
    """Print one JSON document. Our own values become data wherever they stand in it.

    :raises TypeError: a value is no data. Nothing is printed, because a script could not read its text.
    """
    document = json.dumps(value, indent=2, sort_keys=False, default=_plain)
    _printed.set()
    click.echo(document)


def _plain(value: object) -> Any:
    from vmkeep.model.job import to_plain  # here, because all commands load this module, and few print our values

    return to_plain(value)


def print_json_line(value: object) -> None:
    """Print one JSON document on one line, for a reader that waits for it while the command goes on."""
    document = json.dumps(value, default=_plain)
    _printed.set()
    click.echo(document)


def print_json_list(values: Iterable[object]) -> None:
    """Print one JSON document that is a list, value by value, because all of its text may be too large for memory.

    It looks as :func:`print_json` would print it. Each value becomes text before any of it is printed.
    """
    import msgspec

    begun = False
    for some in _parted(values, _AT_ONCE):
        texts = [msgspec.json.format(json.dumps(value, default=_plain), indent=2) for value in some]
        text = ",".join(f"\n{each}" for each in texts).replace("\n", "\n  ")
        _printed.set()
        click.echo(f"{',' if begun else '['}{text}", nl=False)
        begun = True
    _printed.set()
    click.echo("\n]" if begun else "[]")


def print_table(
    headings: Sequence[str], rows: Iterable[Sequence[Any]], *, none: str, first_to_go: Sequence[str] = ()
) -> None:
    """Print rows under headings; numbers stand right.

    A terminal that is too narrow for a table gets one paragraph for each row, so that refs stay whole and can be
    copied. On a pipe, rows are printed as they come, in columns as wide as the first thousand rows need.

    :param none: the sentence that is printed in place of a table without rows, because headings alone look cut off.
    :param first_to_go: headings of columns that a narrow terminal does without, one after the other.
    """
    coming = iter(rows)
    first = next(coming, None)
    if first is None:
        click.echo(none)
        return
    rows = chain([first], coming)
    if not sys.stdout.isatty():
        _print_columns(headings, rows)
        return
    from shutil import get_terminal_size

    rows, width = list(rows), get_terminal_size().columns
    headings, rows = fitting(headings, rows, first_to_go=first_to_go, width=width)
    if _needed(headings, rows) > width:
        click.echo("\n".join(paragraphs(headings, _cells(rows), width=width)))
        return
    _print_columns(headings, rows, measured=len(rows))


def fitting(
    headings: Sequence[str], rows: Sequence[Sequence[Any]], *, first_to_go: Sequence[str], width: int
) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Return a table without as many of its less important columns as it takes to fit a width."""
    for heading in first_to_go:
        if _needed(headings, rows) <= width:
            break
        at = headings.index(heading)
        headings = [*headings[:at], *headings[at + 1 :]]
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    return headings, rows


def _cells(rows: Sequence[Sequence[Any]]) -> list[list[str]]:
    return [["" if cell is None else one_line(str(cell)) for cell in row] for row in rows]


def _needed(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Return the width of a table."""
    return sum(_widths(headings, _cells(rows))) + _BETWEEN * len(headings)


def _widths(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_width, column)) for column in zip(headings, *cells, strict=True)]


def _width(text: str) -> int:
    """Return the columns of a terminal that a text takes, of which some letters take two or none."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def paragraphs(headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> Iterator[str]:
    """Yield the lines of rows that are too wide for one: the first cell on a line of its own, then the others."""
    for row in rows:
        yield row[0]
        line = ""
        for heading, cell in zip(headings[1:], row[1:], strict=True):
            if not cell:
                continue
            part = f"{heading}: {cell}" if heading else cell
            if line and len(line) + len(_GAP) + len(part) > width:
                yield line
                line = ""
            line += f"{_GAP}{part}"
        if line:
            yield line


def _print_columns(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, measured: int | None = None) -> None:
    """Print rows in columns that are as wide as the first rows need. A longer cell moves the rest of its own line.

    :param measured: number of those first rows; ``None``: as many as are printed at a time.
    """
    coming = iter(rows)
    first = list(islice(coming, _AT_ONCE if measured is None else measured))
    cells = _cells(first)
    widths = _widths(headings, cells)
    right = [all(_is_number(row[index]) for row in first) for index in range(len(headings))]
    click.echo(f"\n{_line(headings, widths, right)}\n {_RULE * (sum(widths) + _BETWEEN * (len(widths) - 1))}")
    for some in chain([cells], map(_cells, _parted(coming, _AT_ONCE))):
        if some:
            click.echo("\n".join(_line(row, widths, right) for row in some))
    click.echo()


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) or _NUMBER.match(str(cell)) is not None


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    """Return a row as a line of columns."""
    parts = []
    for cell, width, is_right in zip(cells, widths, right, strict=True):
        blanks = " " * (width - _width(cell))
        parts.append(f"{blanks}{cell}" if is_right else f"{cell}{blanks}")
    return f" {(' ' * _BETWEEN).join(parts)}".rstrip()


def _parted(items: Iterable[T], most: int) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, most)):
        yield some


def show_recovery_key(key: str) -> None:
    """Print a recovery key, the only time that it can be."""
    click.echo(f"recovery key, shown this once: write it down and keep it apart from the passphrase\n\n    {key}\n")
    click.echo("anyone who has it can read the repository; without it and without a passphrase nobody can")
