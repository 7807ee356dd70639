"""The provider's description: it fits Airflow's schema, and names what there is."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import jsonschema
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag
from airflow.providers_manager import ProvidersManager

import vmkeep
import vmkeep_airflow
from vmkeep_airflow.bundle import VmkeepDagBundle
from vmkeep_airflow.provider import get_provider_info

PACKAGE = Path(vmkeep_airflow.__file__).parent
PROJECT = Path(__file__).parents[2]
CONFIG = [{"name": "vmkeep", "classpath": "vmkeep_airflow.bundle.VmkeepDagBundle", "kwargs": {}}]


def test_the_description_fits_the_schema_that_airflow_publishes():
    jsonschema.validate(get_provider_info(), json.loads((files("airflow") / "provider_info.schema.json").read_text()))


def test_airflow_finds_the_provider_with_the_version_of_the_package():
    assert ProvidersManager().providers["vmkeep"].version == vmkeep.__version__


def test_every_operator_and_hook_is_named():
    described = get_provider_info()
    named = {name for part in ("operators", "hooks") for name in described[part][0]["python-modules"]}
    there = {f"vmkeep_airflow.{file.parent.name}.{file.stem}" for file in PACKAGE.glob("[ho]*s/[!_]*.py")}
    helpers = {"operators.base", "operators.ending", "hooks.aws", "hooks.fields"}
    assert named == there - {f"vmkeep_airflow.{name}" for name in helpers}


def test_one_line_of_configuration_brings_the_dags_of_the_installed_package(monkeypatch):
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(CONFIG))
    bundle = DagBundlesManager().get_bundle("vmkeep")
    assert isinstance(bundle, VmkeepDagBundle)
    found = DagBag(str(bundle.path))
    assert found.import_errors == {}
    assert {"vm_backup", "vm_restore", "repository_maintenance"} <= set(found.dags)


def test_the_manual_names_every_field_of_a_connection_as_a_script_sends_it():
    manual = (PROJECT / "docs" / "operations" / "airflow.md").read_text(encoding="utf-8")
    paragraph = next(part for part in manual.split("\n\n") if "airflow connections add" in part)
    fields = {
        name for connection in get_provider_info()["connection-types"] for name in connection.get("conn-fields", ())
    }
    assert {name for name in fields if f"`{name}`" not in paragraph} == set()
