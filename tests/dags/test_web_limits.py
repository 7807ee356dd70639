"""A place that gives no answer holds no thread of the API server for ever, and keeps nobody from the others."""

from __future__ import annotations

import json
import threading

import pytest

from tests.patience import HANG, eventually
from vmkeep.errors import NotFoundError, UnreachableError
from vmkeep.repository import create_repository
from vmkeep_airflow.web import limits, repositories
from vmkeep_airflow.web.limits import from_catalogs, within


def test_work_that_ends_in_time_gives_its_result_or_its_error():
    def fail():
        raise NotFoundError("gone")

    assert within(lambda: 5, "counting") == 5
    with pytest.raises(NotFoundError, match="gone"):
        within(fail, "counting")


def test_work_that_hangs_is_left_and_too_much_of_it_is_refused_until_some_of_it_ends():
    for_ever = threading.Event()
    for _ in range(limits._AT_ONCE):
        with pytest.raises(UnreachableError, match="reading it: no answer within 0 s"):
            within(for_ever.wait, "reading it", seconds=0.01)

    with pytest.raises(UnreachableError, match="under way already"):
        within(lambda: 5, "reading it")

    for_ever.set()
    eventually(lambda: limits._slots._value == limits._AT_ONCE)
    assert within(lambda: 5, "reading it") == 5


def test_catalogs_that_hang_take_a_bounded_number_of_threads_and_none_of_the_other_looks(monkeypatch):
    monkeypatch.setattr(limits, "_MOMENT", 0.0)
    for_ever = threading.Event()
    for _ in range(limits._CATALOGS_AT_ONCE):
        with pytest.raises(UnreachableError, match="reading the catalog: no answer within 0 s"):
            from_catalogs(for_ever.wait, seconds=0.01)

    with pytest.raises(UnreachableError, match="wait for the catalog already"):
        from_catalogs(lambda: 5)
    assert within(lambda: 5, "reading a repository") == 5

    for_ever.set()
    eventually(lambda: limits._catalog_slots._value == limits._CATALOGS_AT_ONCE)
    assert from_catalogs(lambda: 5) == 5


@pytest.fixture
def two_repositories(tmp_path, monkeypatch):
    """Repositories by their connections; that of the first connection hangs."""
    for name in ("default", "second"):
        create_repository(str(tmp_path / name))
    fields = {name: {"conn_type": "vmkeep", "host": str(tmp_path / name)} for name in ("default", "second")}
    monkeypatch.setenv("AIRFLOW_CONN_VMKEEP_DEFAULT", json.dumps(fields["default"]))
    monkeypatch.setenv("AIRFLOW_CONN_SECOND", json.dumps(fields["second"]))
    for_ever, opened = threading.Event(), []
    real = repositories.open_site_repository

    def open_it(site):
        opened.append(site.repository)
        if site.repository.endswith("default"):
            for_ever.wait()
        return real(site)

    monkeypatch.setattr(repositories, "open_site_repository", open_it)
    monkeypatch.setattr(repositories, "find_connections", lambda: ("vmkeep_default", "second"))
    monkeypatch.setattr(repositories, "_known", {})

    def hurried(work, what):
        return within(work, what, seconds=0.05 if "vmkeep_default" in what else HANG)

    monkeypatch.setattr(repositories, "within", hurried)
    yield str(tmp_path / "second"), opened
    for_ever.set()
    eventually(lambda: limits._slots._value == limits._AT_ONCE)


def test_a_repository_that_hangs_keeps_nobody_from_another_one(two_repositories, monkeypatch):
    location, opened = two_repositories
    monkeypatch.setattr(repositories, "picture", lambda repository, ref: (None, repository.location.encode()))
    with repositories.open_site_repository(repositories.repository_site("second")) as repository:
        wanted = repository.id
    opened.clear()

    assert repositories.load_screen(wanted, "vm/point").decode().endswith(location)
    assert len(opened) == 2
    repositories.load_screen(wanted, "vm/point")
    assert opened[2:] == [location]
    with pytest.raises(UnreachableError, match="no connection that answers leads to the repository"):
        repositories.load_screen("another", "vm/point")
