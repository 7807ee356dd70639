"""The catalog follows the backups, and no backup depends on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.integration.flows.restoring import back_up
from vmkeep.catalog import open_catalog
from vmkeep.repository import open_repository


def test_a_sealed_point_is_in_the_catalog_at_once(site, tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.db'}"

    sealed = back_up(replace(site, catalog=url), "old01")

    with open_repository(site.repository) as repository, open_catalog(url) as catalog:
        assert [entry.ref for entry in catalog.points(repository.id)] == [sealed.point]


def foreign(folder):
    (folder / "catalog.db").write_bytes(b"something else entirely, and long enough" * 200)
    return f"sqlite:///{folder / 'catalog.db'}"


@pytest.mark.parametrize(
    "unusable", [foreign, lambda _: "mongodb://db/vmkeep", lambda _: "sqlite:////dev/null/state/catalog.db"]
)
def test_a_catalog_that_fails_fails_no_backup(site, tmp_path, unusable):
    sealed = back_up(replace(site, catalog=unusable(tmp_path)), "old01")

    with open_repository(site.repository) as repository:
        assert list(repository.point_refs()) == [sealed.point]
