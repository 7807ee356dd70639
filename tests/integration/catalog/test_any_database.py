"""The catalog in real databases: several processes at once, servers that are gone, drivers that are missing."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, make_url, select, text
from sqlalchemy.orm import Session

from tests.patience import HANG
from tests.unit.catalog.firstlayout import FIRST, step_back
from tests.unit.catalog.test_catalog import START, Manifests, point
from vmkeep.catalog import (
    Catalog,
    NotedCheck,
    NotedDay,
    NotedLeaving,
    NotedMark,
    NotedRecovery,
    ask_catalog,
    engine,
    open_catalog,
)
from vmkeep.catalog.engine import write_ahead
from vmkeep.catalog.schema import DiskRow, SummedVmRow
from vmkeep.catalog.summaries import last_points
from vmkeep.errors import CatalogError, UnreachableError
from vmkeep.testing.servers import Postgres, free_ports, postgres_server

STARTERS = 6
APP_ROLE = (
    "CREATE ROLE vmkeep_app LOGIN PASSWORD 'app'",
    "GRANT USAGE ON SCHEMA public TO vmkeep_app",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO vmkeep_app",
)
AT_ONCE = """
import os, sys, traceback
from tests.unit.catalog.test_catalog import Manifests, point
from vmkeep.catalog import open_catalog

waiting, starting = os.pipe()
forked = []
for _ in range(int(sys.argv[2])):
    forked.append(os.fork())
    if not forked[-1]:
        os.close(starting)
        os.read(waiting, 1)
        try:
            with open_catalog(sys.argv[1]) as catalog:
                catalog.refresh(Manifests(*(point(n) for n in range(5))))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
os.close(starting)
sys.exit(any(os.waitpid(each, 0)[1] for each in forked))
"""
"""A program whose processes open a catalog for the first time, all at the moment at which their pipe is closed.
They are forked, because each would import for most of a second."""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'new' / 'catalog.db'}"


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_make_the_tables_at_once_all_succeed(kind, sqlite_url, postgres):
    url = sqlite_url if kind == "sqlite" else postgres.url
    command = [sys.executable, "-c", AT_ONCE, url, str(STARTERS)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    with open_catalog(url) as catalog:
        assert len(catalog.points("repo")) == 5


def test_a_point_that_the_database_refuses_keeps_no_other_out(postgres):
    too_long = replace(point(1), vm=replace(point(1).vm, name="x" * 256))
    with open_catalog(postgres.url) as catalog:
        refreshed = catalog.rebuild(Manifests(point(0), too_long, point(2)))

        assert [entry.id for entry in catalog.points("repo")] == [point(0).id, point(2).id]
    assert (refreshed.added, len(refreshed.damaged)) == (2, 1)
    assert too_long.ref in refreshed.damaged[0]


def test_backups_that_end_at_once_are_all_in_the_sums_of_their_vm(postgres):
    with open_catalog(postgres.url) as catalog:
        catalog.rebuild(Manifests(point(0)))
        together = threading.Barrier(STARTERS)

        def end(number: int) -> None:
            together.wait(HANG)
            catalog.record("repo", point(number))

        ending = [threading.Thread(target=end, args=(number + 1,)) for number in range(STARTERS)]
        for each in ending:
            each.start()
        for each in ending:
            each.join(HANG)
        with engine.open_engine(postgres.url) as opened, Session(opened) as session:
            (row,) = session.query(SummedVmRow)
            assert (row.points, row.ref) == (STARTERS + 1, point(STARTERS).ref)


NOTINGS: dict[str, Callable[[Catalog, int], None]] = {
    "fleet": lambda catalog, number: catalog.overview().note(
        "repo", location="/srv", at=START, marks=[NotedMark(ref="a/b", kind="pinned", reason=str(number))],
        proofs=(), vms=(),
    ),
    "day": lambda catalog, number: catalog.capacity().note_day(
        "repo", NotedDay(at=START, points=number, protected=0, bytes_read=0, bytes_added=0, bytes_stored=0)
    ),
    "check": lambda catalog, number: catalog.capacity().note_check(
        "repo", NotedCheck(at=START, part=0, parts=1, findings=number)
    ),
    "leaving": lambda catalog, number: catalog.capacity().note_leaving(
        "repo", [NotedLeaving(day=START, points=number, vms=0, bytes_added=0)]
    ),
    "recoveries": lambda catalog, number: catalog.recoveries().note(
        "repo",
        [
            NotedRecovery(
                run="r", plan="p", drill=True, vcenter="", began=START, ended=None, healthy=number, off=0, failed=0,
                rpo=None, rto=None,
            )
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("what", NOTINGS)
def test_looks_at_one_repository_at_once_all_note_what_they_have_found(what, kind, sqlite_url, postgres):
    with contextlib.ExitStack() as stack:
        url = sqlite_url if kind == "sqlite" else postgres.url
        looks = [stack.enter_context(open_catalog(url)) for _ in range(STARTERS)]
        NOTINGS[what](looks[0], 0)
        together, failed = threading.Barrier(STARTERS), []

        def note(number: int) -> None:
            together.wait(HANG)
            try:
                for _ in range(5):
                    NOTINGS[what](looks[number], number)
            except CatalogError as error:
                failed.append(str(error))

        noting = [threading.Thread(target=note, args=(number,)) for number in range(STARTERS)]
        for each in noting:
            each.start()
        for each in noting:
            each.join(HANG)
        assert failed == []


def test_the_newest_points_of_vms_are_told_by_one_range_of_an_index(postgres):
    held = Manifests(*(point(number, vm) for number in range(3) for vm in ("app01", "web01")))
    with open_catalog(postgres.url) as catalog, engine.open_engine(postgres.url) as opened:
        catalog.rebuild(held)

        assert inspect(opened).has_index("vmkeep2_point", "vmkeep2_point_by_time")
        with Session(opened) as session:
            assert len(last_points(session, "repo", 2)[0]) == 2
        told = {each.vm_key: each.ref for each in catalog.overview().summaries(START + timedelta(hours=50))}
    assert told == {"key-app01": point(2).ref, "key-web01": point(2, "web01").ref}


@pytest.fixture
def as_app(postgres):
    """The URL for a role that may write rows in the tables that the owner has made, and may do nothing else."""
    with open_catalog(postgres.url), engine.open_engine(postgres.url) as owner, owner.begin() as connection:
        for statement in APP_ROLE:
            connection.execute(text(statement))
    yield make_url(postgres.url).set(username="vmkeep_app", password="app").render_as_string(hide_password=False)
    with engine.open_engine(postgres.url) as owner, owner.begin() as connection:
        connection.execute(text("DROP OWNED BY vmkeep_app"))
        connection.execute(text("DROP ROLE vmkeep_app"))


def test_a_role_that_may_only_write_rows_enters_points_and_is_told_of_old_tables(postgres, as_app, caplog):
    held = Manifests(*(point(number) for number in range(3)))
    with open_catalog(as_app) as catalog, engine.open_engine(postgres.url) as owner:
        catalog.rebuild(held)
        assert len(catalog.points("repo")) == 3
        assert not caplog.records

        step_back(owner, keep_new=True)
        catalog.rebuild(held)

        assert len(catalog.points("repo")) == 3
        FIRST.drop_all(owner)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "permission denied" in line
    assert "run: DROP TABLE IF EXISTS vmkeep_disk_fact" in line


def upgrade(url: str) -> int:
    """Open a catalog of the first layout and refresh it. Return the number of manifests that were read."""
    manifests = Manifests(*(point(number) for number in range(40)))
    with open_catalog(url) as catalog:
        catalog.refresh(manifests)
        assert len(catalog.points("repo")) == 40
        assert {(each.disks, each.skipped) for each in catalog.points("repo")} == {(2, 1)}
    return manifests.loaded


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.parametrize("at_once", [1, STARTERS])
def test_a_catalog_of_the_first_layout_is_taken_over_also_by_several_at_once(kind, at_once, sqlite_url, postgres):
    url = sqlite_url if kind == "sqlite" else postgres.url
    with open_catalog(url) as catalog, engine.open_engine(url) as opened:
        catalog.rebuild(Manifests(*(point(number) for number in range(40))))
        step_back(opened)

        together = threading.Barrier(at_once)

        def start(_number: int) -> int:
            together.wait(HANG)
            return upgrade(url)

        with ThreadPoolExecutor(at_once) as threads:
            read = list(threads.map(start, range(at_once)))

        assert set(inspect(opened).get_table_names()).isdisjoint(FIRST.tables)
        if at_once == 1:
            assert read == [0]
        with Session(opened) as session:
            assert session.scalar(select(func.count()).select_from(DiskRow)) == 80


class LetsGoAfterAFailure(sqlite3.Connection):
    """Ends the writing of another connection as soon as its own command failed."""

    def execute(self, *arguments):
        try:
            return super().execute(*arguments)
        except sqlite3.OperationalError:
            self.writer.rollback()
            raise


@pytest.mark.parametrize("lock", ["IMMEDIATE", "EXCLUSIVE"])
def test_the_switch_to_a_write_ahead_log_waits_for_another_writer(lock, tmp_path):
    writer = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    writer.execute(f"BEGIN {lock}")
    connection = sqlite3.connect(tmp_path / "catalog.db", factory=LetsGoAfterAFailure, timeout=0)
    connection.writer = writer

    write_ahead(connection)

    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_switch_to_a_write_ahead_log_waits_for_nothing_else(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"no database" * 1000)

    with pytest.raises(sqlite3.DatabaseError, match="not a database"):
        write_ahead(sqlite3.connect(tmp_path / "catalog.db"))


def listed(url: str) -> int:
    """Return how many of two points a list shows."""
    manifests = Manifests(point(1), point(2))
    _, entries = ask_catalog(url, lambda catalog: (catalog.refresh(manifests), catalog.points("repo")))
    return len(entries)


def read_only(path: Path) -> str:
    with open_catalog(f"sqlite:///{path}"):
        pass
    return f"sqlite:///file:{path}?mode=ro&uri=true"


def torn(path: Path) -> str:
    with open_catalog(f"sqlite:///{path}") as catalog:
        catalog.refresh(Manifests(*(point(number) for number in range(3, 60))))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    return f"sqlite:///{path}"


def foreign(path: Path) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE vmkeep2_point (something TEXT)")
    return f"sqlite:///{path}"


UNUSABLE = {
    "no such kind of database": lambda path: "mongodb://db/vmkeep",
    "not a URL": lambda path: "catalog.db",
    "a port that is none": lambda path: "postgresql+psycopg2://u:hidden@db:port/vmkeep",
    "a driver that is missing": lambda path: "mysql+mysqldb://u:hidden@db/vmkeep",
    "nobody listens": lambda path: f"postgresql+psycopg2://u:hidden@127.0.0.1:{free_ports(1)[0]}/vmkeep",
    "a folder that cannot be made": lambda path: "sqlite:////dev/null/state/catalog.db",
    "a folder in its place": lambda path: f"sqlite:///{path.parent}",
    "a file that may not be written": read_only,
    "a file that is damaged": torn,
    "tables of somebody else": foreign,
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_catalog_that_cannot_be_used_is_told_and_hides_no_point(case, tmp_path, caplog):
    url = UNUSABLE[case](tmp_path / "catalog.db")
    caplog.set_level(logging.WARNING)

    assert listed(url) == 2

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "hidden" not in caplog.text


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_rebuild_says_in_one_line_why_it_cannot_be_done(case, tmp_path):
    url = UNUSABLE[case](tmp_path / "catalog.db")

    with pytest.raises(CatalogError) as caught, open_catalog(url) as catalog:
        catalog.rebuild(Manifests(point(1)))

    assert len(str(caught.value).splitlines()) == 1
    assert "hidden" not in str(caught.value)


def test_a_repository_that_fails_is_not_taken_for_a_catalog_that_does(sqlite_url):
    class Gone(Manifests):
        def point_refs(self, vm_key=None):
            raise UnreachableError("the repository does not answer")

    with pytest.raises(UnreachableError):
        ask_catalog(sqlite_url, lambda catalog: catalog.refresh(Gone()))


def test_a_table_that_somebody_has_locked_ends_the_question_with_an_error(postgres, monkeypatch):
    monkeypatch.setattr(engine, "_LOCK_SECONDS", 0.05)
    with open_catalog(postgres.url) as catalog, engine.open_engine(postgres.url) as other, other.begin() as held:
        held.exec_driver_sql("LOCK TABLE vmkeep2_point IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(CatalogError, match="lock timeout"):
            catalog.points("repo")


def test_a_database_that_stops_answering_hides_no_point_and_holds_nobody_up(postgres, monkeypatch):
    monkeypatch.setitem(engine._PATIENCE["psycopg2"], "connect_timeout", 2)
    assert listed(postgres.url) >= 2
    postgres.process.send_signal(signal.SIGSTOP)
    try:
        assert listed(postgres.url) == 2
    finally:
        postgres.process.send_signal(signal.SIGCONT)


def test_a_database_that_is_gone_hides_no_point(postgres):
    postgres.process.send_signal(signal.SIGINT)
    postgres.process.wait()

    assert listed(postgres.url) == 2


def test_a_server_that_is_away_is_asked_once():
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):  # the server has ended
                while True:
                    server.accept()[0].close()
                    asked.append(1)

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        url = f"postgresql+psycopg2://vmkeep@127.0.0.1:{server.getsockname()[1]}/x?sslmode=disable&gssencmode=disable"
        with pytest.raises(CatalogError), open_catalog(url):
            pass
        server.shutdown(socket.SHUT_RDWR)
        thread.join(HANG)
    assert asked == [1]
