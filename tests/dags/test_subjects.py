"""Airflow's part of an examination, and the button *Test* of the connections: the doctor's own checks."""

from __future__ import annotations

import json

import pytest
from airflow.models.pool import Pool
from airflow.utils.session import create_session
from sqlalchemy import delete, select

from vmkeep.blobs import hold_reserve
from vmkeep.errors import UsageError
from vmkeep.flows.doctor import State, examine
from vmkeep.repository import create_repository
from vmkeep_airflow import subjects as airflows
from vmkeep_airflow.hooks.repository import RepositoryHook
from vmkeep_airflow.hooks.vsphere import VsphereHook


@pytest.fixture
def connections(monkeypatch):
    def add(conn_id: str, **fields: object) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return add


@pytest.fixture
def location(tmp_path):
    hold_reserve(create_repository(str(tmp_path / "repository")).blobs)  # as 'repo init' does
    return str(tmp_path / "repository")


def test_the_test_of_a_repository_says_that_it_is_writable(connections, location):
    connections("repo", conn_type="vmkeep", host=location)

    good, told = RepositoryHook("repo").test_connection()

    assert good
    assert told == "ok: open, write and remove, never overwrites, locks, free space, clock"


def test_the_test_of_a_repository_that_is_not_there_is_red_and_says_why(connections, tmp_path):
    connections("repo", conn_type="vmkeep", host=str(tmp_path / "nothing"))

    good, told = RepositoryHook("repo").test_connection()

    assert not good
    assert told.startswith("fault: open: ")
    assert "no such folder" in told


def test_the_test_of_a_vcenter_that_is_not_there_is_red_and_calls_nothing_good(connections):
    connections("vc", conn_type="vsphere", host="no-such-host.invalid", login="u", password="p")

    good, told = VsphereHook("vc").test_connection()

    assert not good
    assert "fault: certificate: no-such-host.invalid: the name does not resolve" in told
    assert "ok:" not in told


@pytest.mark.parametrize("fields", [{"host": ""}, {"host": "vc", "extra": {"limits": "nfc=900"}}])
def test_the_test_of_a_connection_with_a_wrong_field_names_it(connections, fields):
    connections("vc", **{"conn_type": "vsphere", "login": "u", "password": "p", **fields})

    assert VsphereHook("vc").test_connection()[0] is False


def test_every_connection_that_airflow_knows_is_a_subject_and_others_are_not(connections, location):
    connections("vc", conn_type="vsphere", host="vc.invalid", login="u", password="p")
    connections("repo", conn_type="vmkeep", host=location)
    connections("broken", conn_type="vsphere", host="vc.invalid")
    connections("web", conn_type="http", host="elsewhere")

    found = {subject.about: subject for subject in airflows.subjects()}

    assert set(found) == {"Airflow", "vCenter vc.invalid (vc)", f"repository {location} (repo)", "connection broken"}
    (check,) = examine([found["connection broken"]]).checks
    assert (check.state, check.name) == (State.FAULT, "fields")


def test_a_variable_that_nobody_can_read_as_a_connection_is_told_and_hides_no_other(connections, location, monkeypatch):
    connections("repo", conn_type="vmkeep", host=location)
    monkeypatch.setenv("AIRFLOW_CONN_ODD", '{"conn_type": "vmkeep", "password": "secret"')

    found = {subject.about: subject for subject in airflows.subjects()}

    assert f"repository {location} (repo)" in found
    (check,) = examine([found["connection odd"]]).checks
    assert check.state is State.WARNING
    assert "AIRFLOW_CONN_ODD" in check.text
    assert "secret" not in check.text


@pytest.mark.parametrize("there", [True, False])
def test_a_hub_without_vddk_need_not_reach_the_hosts(connections, tmp_path, monkeypatch, there):
    asked = []
    monkeypatch.setattr(VsphereHook, "subject", lambda _self, *, proxy: asked.append(proxy))
    vddk = str(tmp_path if there else tmp_path / "only-on-proxies")
    connections("vc", conn_type="vsphere", host="vc.invalid", login="u", password="p", extra={"vddk": vddk})

    airflows.subjects()

    assert asked == [there]


@pytest.fixture
def pool():
    """Give the pool of the proxies other slots, or none, until the end of the test."""

    def give(slots):
        with create_session() as session:
            session.execute(delete(Pool).where(Pool.pool == "backup_proxy"))
            if slots is not None:
                session.add(Pool(pool="backup_proxy", slots=slots, include_deferred=False))

    with create_session() as session:
        before = session.scalar(select(Pool.slots).where(Pool.pool == "backup_proxy"))
    yield give
    give(before)


@pytest.mark.parametrize(
    ("slots", "state"), [(4, State.OK), (0, State.FAULT), (None, State.WARNING)], ids=["slots", "none", "no pool"]
)
def test_a_pool_that_lets_no_disk_be_copied_is_told(connections, location, pool, slots, state):
    pool(slots)

    checks = {check.name: check for check in examine(airflows.subjects()[:1]).checks}

    assert checks["pools"].state is state
    assert checks["connections"].state is State.FAULT


def test_a_machine_that_does_not_reach_the_database_knows_that_it_does_not_know(connections, location, monkeypatch):
    def refused():
        raise RuntimeError("Direct database access via the ORM is not allowed in Airflow 3.0")

    connections("repo", conn_type="vmkeep", host=location)
    monkeypatch.setattr(airflows, "create_session", refused)

    first, second = airflows.subjects()

    assert second.about.endswith("(repo)")
    assert {check.state for check in examine([first]).checks} == {State.UNKNOWN}


def test_the_command_takes_airflows_part_by_its_entry_point():
    from importlib.metadata import entry_points

    from vmkeep.cli.cmd_doctor import MORE_SUBJECTS

    assert [entry.load() for entry in entry_points(group=MORE_SUBJECTS)] == [airflows.subjects]


def test_a_missing_connection_is_no_crash_of_the_button():
    assert RepositoryHook("nowhere").test_connection()[0] is False
    with pytest.raises(UsageError):
        RepositoryHook("nowhere").subject()
