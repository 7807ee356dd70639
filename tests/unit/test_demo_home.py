"""The Airflow of the demo: what a visitor may set in it, and who may log in."""

from __future__ import annotations

import json
import os

from demo.airflow_home import AirflowHome


def test_a_visitor_can_try_settings_of_vmkeep_and_no_airflow_of_theirs_reaches_the_demo(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__VMKEEP__SECOND_PERSON", "True")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW_CONN_VSPHERE_DEFAULT", "{}")
    home = AirflowHome(tmp_path / "home")
    assert "AIRFLOW__VMKEEP__SECOND_PERSON" not in home.environment(), "tests have to know all settings"

    home.pass_on(os.environ)

    given = home.environment()
    assert given["AIRFLOW__VMKEEP__SECOND_PERSON"] == "True"
    assert given["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "AIRFLOW_CONN_VSPHERE_DEFAULT" not in given


def test_everybody_of_the_demo_has_the_password_that_it_prints(tmp_path, monkeypatch):
    database = tmp_path / "migrated.db"
    database.touch()
    monkeypatch.setattr("demo.airflow_home.migrated_database", lambda: database)
    home = AirflowHome(tmp_path / "home")

    home.prepare()

    passwords = json.loads((home.folder / "passwords.json").read_text())
    assert passwords == dict.fromkeys(["admin", "second", "viewer"], home.password)
