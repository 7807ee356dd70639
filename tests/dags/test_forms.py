"""Trigger forms: choices are told in plain words, and VMs and points can be looked up from their fields."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Param
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.exceptions import ParamValidationError

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture(scope="module")
def fields() -> dict[str, Param]:
    """Return the fields of all forms, by DAG and name."""
    bag = DagBag(str(DAGS))
    return {f"{dag.dag_id}.{name}": dag.params.get_param(name) for dag in bag.dags.values() for name in dag.params}


def test_every_choice_has_plain_words(fields):
    for name, param in fields.items():
        choices = param.schema.get("enum") or param.schema.get("items", {}).get("enum") or []
        words = param.schema.get("values_display", {})
        lacking = {choice for choice in map(str, choices) if choice not in words}
        if name.endswith(".proxy"):  # the names of a site are its words
            lacking.discard("backup_proxy")
        assert lacking == set(), name


def test_the_field_of_a_vm_or_a_point_leads_to_the_list_of_all_of_them(fields):
    led = {name for name, param in fields.items() if "(/vmkeep/fleet)" in param.schema.get("description_md", "")}
    assert {"vm_backup.vm", "vm_restore.point", "vm_restore.vm", "export_point.point", "verify_points.points"} <= led


def test_every_default_fits_its_field(fields):
    for param in fields.values():
        if param.value is not NOTSET:
            jsonschema.validate(param.value, param.schema)


def test_a_star_stands_only_at_a_field_that_has_to_be_filled_in(fields):
    # As Airflow's form decides it: a field is required if its type is named, and null is not among its types.
    starred = {name for name, param in fields.items() if (kind := param.schema.get("type")) and "null" not in kind}
    assert starred == {name for name, param in fields.items() if param.value is NOTSET}
    assert "vm_restore.point" in starred


def test_a_field_that_was_emptied_is_refused_where_it_needs_a_value(fields):
    for name in ("vm_restore.verify", "vm_restore.dry_run", "vm_restore.transports", "vm_backup.vsphere"):
        with pytest.raises(ParamValidationError, match="None is not"):
            fields[name].resolve(None)
