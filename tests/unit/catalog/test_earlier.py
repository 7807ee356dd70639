"""A catalog of the first layout is taken over without reading a manifest again, and leaves nothing behind."""

from __future__ import annotations

import logging
import sqlite3
from dataclasses import replace

import pytest
from sqlalchemy import inspect

from tests.unit.catalog.firstlayout import FIRST, step_back
from tests.unit.catalog.test_catalog import Manifests, point
from tests.unit.catalog.test_wrong_values import answers
from vmkeep.catalog import open_catalog
from vmkeep.catalog.engine import make_tables, open_engine
from vmkeep.catalog.schema import Base

FULL = replace(
    point(3, vm="web01"),
    skipped=(),
    policy="nightly",
    vm=replace(point(3, vm="web01").vm, vcenter="vc1", moref="vm-1", inventory_path="/DC/vm/web01", server="vc",
               addresses=("10.0.0.7", "fe80::1"), dns_name="web01.lab"),
)  # fmt: skip
POINTS = (point(1), point(2), FULL)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/catalog.db"


def tables_of(url):
    with open_engine(url) as engine:
        return set(inspect(engine).get_table_names())


def test_an_upgrade_copies_all_points_reads_no_manifest_and_drops_the_old_tables(url):
    manifests = Manifests(*POINTS)
    with open_catalog(url) as catalog:
        catalog.refresh(manifests)
        before = answers(catalog)
        step_back(catalog._engine)
    manifests.loaded = 0

    with open_catalog(url) as catalog:
        refreshed = catalog.refresh(manifests)

        assert (refreshed.added, refreshed.removed, refreshed.total, manifests.loaded) == (0, 0, 3, 0)
        assert answers(catalog) == before
    assert tables_of(url).isdisjoint(FIRST.tables)


@pytest.mark.parametrize("lost", ["vmkeep_source", "vmkeep_guest", "vmkeep_fact", "vmkeep_disk_fact"])
@pytest.mark.parametrize("whole", [True, False], ids=["table", "row"])
def test_points_of_which_an_older_program_knew_less_are_read_again(url, tmp_path, lost, whole):
    manifests = Manifests(*POINTS)
    with open_catalog(url) as catalog:
        catalog.refresh(manifests)
        before = answers(catalog)
        step_back(catalog._engine)
    with sqlite3.connect(tmp_path / "catalog.db") as older:
        older.execute(f"DROP TABLE {lost}" if whole else f"DELETE FROM {lost} WHERE ref = '{FULL.ref}'")
    older.close()
    manifests.loaded = 0

    with open_catalog(url) as catalog:
        assert catalog.refresh(manifests).added == manifests.loaded == (3 if whole else 1)
        assert answers(catalog) == before
    assert tables_of(url).isdisjoint(FIRST.tables)


def test_a_copy_whose_process_died_before_it_is_made_by_the_next_one(url):
    manifests = Manifests(*POINTS)
    with open_catalog(url) as catalog:
        catalog.refresh(manifests)
        step_back(catalog._engine)
        make_tables(catalog._engine, Base.metadata)  # and then it died
    manifests.loaded = 0

    with open_catalog(url) as catalog:
        assert (catalog.refresh(manifests).added, manifests.loaded) == (0, 0)
    assert tables_of(url).isdisjoint(FIRST.tables)


def test_tables_that_an_older_program_made_beside_the_new_ones_stay_until_a_rebuild(url):
    manifests = Manifests(*POINTS)
    with open_catalog(url) as catalog:
        catalog.refresh(manifests)
        step_back(catalog._engine, keep_new=True)
    assert tables_of(url) >= FIRST.tables.keys()

    with open_catalog(url) as catalog:
        catalog.rebuild(manifests)

    assert tables_of(url).isdisjoint(FIRST.tables)


def test_old_tables_that_are_none_are_told_and_hide_no_point(url, tmp_path, caplog):
    with sqlite3.connect(tmp_path / "catalog.db") as older:
        older.execute("CREATE TABLE vmkeep_point (something TEXT)")
    older.close()
    caplog.set_level(logging.INFO)

    with open_catalog(url) as catalog:
        assert catalog.refresh(Manifests(*POINTS)).added == 3
    assert "no such" in caplog.text
