"""Measures what a call costs: the time that it takes, and the work of the API server and of PostgreSQL for it."""

from __future__ import annotations

import statistics
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final

import psutil
from sqlalchemy import text

from bench.pages.site import PagesSite
from bench.scale.processes import of_children, own

_COUNTED: Final = """
SELECT query, calls, rows, shared_blks_hit + shared_blks_read AS blocks, total_exec_time / 1000 AS seconds
FROM pg_stat_statements WHERE query !~* '^(begin|commit|rollback|set|show|discard)'
AND query !~ 'pg_stat_statements|pg_catalog|current_schema'
ORDER BY blocks DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that a page has sent to PostgreSQL, as often as one call does."""

    query: str
    calls: float
    rows: float
    """Rows that it returned."""
    blocks: float
    """Blocks of 8 KiB that PostgreSQL looked at for it."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The price of one call of a page."""

    name: str
    path: str
    median: float
    """Seconds from the request to the last byte of the answer, for the middle one of the calls that count."""
    first: float
    """Seconds of the call before these, for which the API server loads and compiles what it has not needed before."""
    server: float
    """CPU seconds of the API server."""
    postgres: float
    """CPU seconds of PostgreSQL."""
    statements: tuple[Statement, ...]
    size: int
    """Bytes of the answer."""

    @property
    def count(self) -> float:
        """Statements of one call, without those that connect, begin and end transactions, or look for tables."""
        return sum(each.calls for each in self.statements)

    @property
    def rows(self) -> float:
        """Rows that went from PostgreSQL to the API server."""
        return sum(each.rows for each in self.statements)

    @property
    def blocks(self) -> float:
        """Blocks of 8 KiB that PostgreSQL looked at."""
        return sum(each.blocks for each in self.statements)


class BrokenPageError(Exception):
    """A page has answered with an error."""


class Meter:
    """Measures pages of one site."""

    def __init__(self, site: PagesSite) -> None:
        self._site = site
        self._opener = urllib.request.build_opener(_Stay)

    def measure(self, name: str, path: str, times: int) -> Cost:
        """Call a page, first once so that everything is loaded, and then several times."""
        first, _ = self._timed(path)
        with self._site.database.connect() as connection:
            connection.execute(text("SELECT pg_stat_statements_reset()"))
        before = self._spent()
        took, sizes = zip(*(self._timed(path) for _ in range(times)), strict=True)
        after = self._spent()
        with self._site.database.connect() as connection:
            found = [_statement(row, times) for row in connection.execute(text(_COUNTED))]
        return Cost(
            name=name, path=path, median=statistics.median(took), first=first,
            server=(after[0] - before[0]) / times, postgres=(after[1] - before[1]) / times,
            statements=tuple(found), size=sizes[-1],
        )  # fmt: skip

    def _timed(self, path: str) -> tuple[float, int]:
        """Call a page. Return the seconds, and the bytes of the answer."""
        began = time.perf_counter()
        size = self._call(path)
        return time.perf_counter() - began, size

    def _call(self, path: str) -> int:
        request = urllib.request.Request(self._site.airflow.home.url + path)  # noqa: S310 - our own http URL
        request.add_header("Authorization", f"Bearer {self._site.token}")
        try:
            with self._opener.open(request, timeout=300) as answer:
                return len(answer.read())
        except urllib.error.HTTPError as error:
            if error.code // 100 == 3:  # a page that only leads elsewhere
                return 0
            raise BrokenPageError(f"{path}: {error.code} {error.read()[-800:]!r}") from error

    def _spent(self) -> tuple[float, float]:
        """Return the CPU seconds so far of the API server and of PostgreSQL, ended processes included."""
        server = psutil.Process(self._site.airflow.components["api-server"].pid)
        postgres = psutil.Process(self._site.postgres.process.pid)
        return own(server) + of_children(server), own(postgres) + of_children(postgres)


def _statement(row: Any, times: int) -> Statement:
    return Statement(
        query=" ".join(row.query.split()), calls=row.calls / times, rows=row.rows / times, blocks=row.blocks / times,
        seconds=row.seconds / times,
    )  # fmt: skip


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no answer that leads elsewhere."""

    def redirect_request(self, *_: Any) -> None:
        """Return no request."""
