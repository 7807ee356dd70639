"""SQLite keeps any value in any column: the catalog names one that does not belong there, instead of passing it on."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

import pytest

from tests.unit.catalog.test_catalog import Manifests, point
from vmkeep.catalog import Catalog, NotedProof, ask_catalog, open_catalog
from vmkeep.catalog.overview_tables import NotedFailureRow
from vmkeep.catalog.schema import Base, PointRow
from vmkeep.errors import CatalogError

NOW = datetime(2026, 2, 1, tzinfo=UTC)
POINTS = Manifests(point(1), point(2, vm="web01"))
NUMBER = PointRow.__table__.c.number
"""The column in which SQLite keeps numbers only."""
COLUMNS = [each for table in Base.metadata.tables.values() for each in table.columns if each is not NUMBER]
UNREAD = {"vmkeep2_disk.point", "vmkeep2_vm.repository", "vmkeep2_repository.whole"}
"""Columns by whose values the database finds rows. It gives them to nobody."""


def answers(catalog: Catalog) -> list[object]:
    """Return all that the catalog tells of points."""
    overview, capacity = catalog.overview(), catalog.capacity()
    refs = list(POINTS.held)
    return [
        catalog.points("repo"),
        catalog.points("repo", vm="app01"),
        catalog.policies("repo"),
        catalog.origins("repo"),
        catalog.known("repo", refs),
        overview.summaries(NOW),
        [overview.points(key, first=0, most=9) for key in ("key-app01", "key-web01")],
        overview.points_named([one.id for one in POINTS.held.values()]),
        overview.trends([("repo", "key-app01"), ("repo", "key-web01")], 9),
        capacity.totals("repo"),
        list(capacity.points("repo")),
    ]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "catalog.db"


def spoil(file, table, column, value):
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
    connection.close()


@pytest.fixture(scope="module")
def mended(tmp_path_factory):
    """A catalog that each test spoils and rebuilds, its file, and what it told at first."""
    file = tmp_path_factory.mktemp("catalog") / "catalog.db"
    with open_catalog(f"sqlite:///{file}") as catalog:
        catalog.refresh(POINTS)
        yield catalog, file, answers(catalog)


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_a_value_that_does_not_belong_in_its_column_is_named_with_the_remedy_which_helps(mended, column):
    catalog, file, good = mended
    spoil(file, column.table.name, column.name, b"\xff")
    if str(column) in UNREAD:
        answers(catalog)
    else:
        with pytest.raises(CatalogError, match=rf"column {column} holds b'.xff', .*'vmkeep catalog rebuild'"):
            answers(catalog)

    catalog.rebuild(POINTS)

    assert answers(catalog) == good


@pytest.mark.parametrize("value", ["yesterday", 7, "2026-13-01 00:00:00.000000"])
def test_a_time_that_is_none_is_named_and_the_repository_is_read_instead(file, value):
    def ask(catalog):
        catalog.refresh(POINTS)
        return [entry.ref for entry in catalog.points("repo")]

    refs = ask_catalog(f"sqlite:///{file}", ask)
    spoil(file, "vmkeep2_point", "taken_at", value)

    with open_catalog(f"sqlite:///{file}") as catalog, pytest.raises(CatalogError, match=r"vmkeep2_point\.taken_at"):
        catalog.points("repo")
    assert ask_catalog(f"sqlite:///{file}", ask) == refs


def test_a_note_that_is_none_is_named_with_the_remedy_of_notes(file):
    with open_catalog(f"sqlite:///{file}") as catalog:
        proof = NotedProof(ref="key/new", kind="boot", result="failed", at=1)
        catalog.overview().note("repo", location="/srv", at=NOW, marks=(), proofs=iter([proof]), vms=())
        spoil(file, NotedFailureRow.__tablename__, "at", "text")

        with pytest.raises(CatalogError, match=r"vmkeep_noted_failure\.at holds 'text', .*delete that row"):
            catalog.overview().failures()
