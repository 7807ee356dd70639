"""The vCenters and repositories of all policies are looked at each day, and people are told before a backup fails."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from vmkeep.blobs import Space, hold_reserve
from vmkeep.flows.doctor import Subject, stores, vcenters
from vmkeep.repository import create_repository
from vmkeep_airflow.hooks.vsphere import VsphereHook
from vmkeep_airflow.operators.examine_places import ENDING, ExaminePlacesOperator

WINDOW = "window: {start: 22:00, end: 06:00, time_zone: UTC}"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Policies with a second repository, whose vCenter is fine."""
    places = "vsphere: vc\nrepository: {connection: repo, copies: [second]}"
    for name in ("nightly", "daily"):
        text = f"name: {name}\nselection: name:*\n{WINDOW}\n{places}\nnotifications: {{to: [{name}@example.com]}}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    for name in ("repo", "second"):
        hold_reserve(create_repository(str(tmp_path / name)).blobs)  # as 'repo init' does
        fields = {"conn_type": "vmkeep", "host": str(tmp_path / name)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    monkeypatch.setenv("AIRFLOW_CONN_VC", json.dumps({"conn_type": "vsphere", "host": "vc"}))
    monkeypatch.setenv("AIRFLOW__VMKEEP__POLICIES", str(tmp_path))
    vcenter = Subject(about="vCenter vc", names=(), ask=lambda answers: None)
    monkeypatch.setattr(VsphereHook, "subject", lambda self, *, proxy: vcenter)
    return tmp_path


@pytest.fixture
def told(monkeypatch):
    """Return the notices, each with the wishes of those who get it."""
    notices: list[Any] = []
    monkeypatch.setattr(
        "vmkeep_airflow.operators.examine_places.tell_each",
        lambda wishes, notice: iter(notices.append((wishes, notice)) or ()),
    )
    return notices


def examine() -> tuple[dict[str, list[str]], str]:
    left: dict[str, Any] = {}
    ti = SimpleNamespace(dag_id="missed_backups", xcom_push=lambda key, value: left.update({key: value}))
    try:
        ExaminePlacesOperator(task_id="examine_places").execute({"ti": ti})
    except AirflowFailException as error:
        return left["return_value"], str(error)
    return left["return_value"], ""


def test_good_places_are_no_alarm(site, told):
    found, failed = examine()

    assert (found, failed, told) == ({"vc": [], "repo": [], "second": []}, "", [])


def test_a_repository_that_is_nearly_full_is_told_once_to_the_people_of_all_its_policies(site, told, monkeypatch):
    real = stores.space_of
    space = Space(free=9 << 30, capacity=1 << 40)
    monkeypatch.setattr(stores, "space_of", lambda blobs: space if "second" in blobs.location else real(blobs))

    found, failed = examine()

    (line,) = found["second"]
    assert "free space: the repository has 9.0 GiB of 1.0 TiB free: make room" in line
    assert line in failed
    ((wishes, notice),) = told
    assert {wish.to for wish in wishes} == {("nightly@example.com",), ("daily@example.com",)}
    assert (notice.kind, notice.about, list(notice.lines)) == ("places", "second", [line])


def test_a_place_that_does_not_answer_hides_no_other_one(site, told, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_REPO", json.dumps({"conn_type": "vmkeep", "host": str(site / "nowhere")}))

    found, failed = examine()

    assert found["second"] == []
    assert "no such folder" in failed
    assert [notice.about for _, notice in told] == ["repo"]


def test_a_connection_that_a_policy_names_and_that_is_not_there_is_an_alarm(site, told, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_SECOND")

    found, failed = examine()

    assert found["repo"] == []
    assert "second" in failed
    assert [notice.about for _, notice in told] == ["second"]


def test_a_place_that_hangs_is_an_alarm(site, told, monkeypatch):
    for_ever = threading.Event()
    hanging = Subject(about="vCenter vc", names=("log-in",), ask=lambda answers: for_ever.wait(), seconds=0.05)
    monkeypatch.setattr(VsphereHook, "subject", lambda self, *, proxy: hanging)

    found, _ = examine()
    for_ever.set()

    assert found["vc"] == ["vCenter vc: log-in: no answer within 0 s"]
    assert [notice.about for _, notice in told] == ["vc"]


def test_the_checks_whose_warning_is_an_alarm_are_checks_of_the_doctor():
    assert {stores._SPACE, vcenters._CERTIFICATE} == ENDING
