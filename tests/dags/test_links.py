"""A task's page leads to its VM and its restore point, from the first task that knows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from structlog.contextvars import get_contextvars

from vmkeep_airflow.links import PointLink, VmLink, page_of_point
from vmkeep_airflow.logfields import fields_of, with_fields
from vmkeep_airflow.operators.copy_disk import CopyDiskOperator
from vmkeep_airflow.operators.preflight import PreflightOperator
from vmkeep_airflow.operators.verify import VerifyOperator

# Airflow's loader of plugins uses a function that a library of its own has deprecated.
pytestmark = pytest.mark.filterwarnings("default:GitWildMatchPattern:DeprecationWarning")

DAGS = Path(__file__).parents[2] / "dags"
KEY = "5012ab34-0000-4000-8000-00000000beef"
REF = f"{KEY}/20261127T010203Z-3f2a"
PREFLIGHT = {"vm": {"name": "app01", "key": KEY, "instance_uuid": KEY}, "request": {"vm_selector": "app01"}}
SEALED = {"point": REF, "vm": "app01"}


def links(operator: Any) -> tuple[str, str]:
    """Return both links. No request is made for them: there is nobody to ask."""
    return VmLink().get_link(operator, ti_key=None), PointLink().get_link(operator, ti_key=None)


def test_the_first_task_leads_to_the_vm_that_it_has_found_and_to_no_point_yet():
    operator = PreflightOperator(task_id="preflight", vm="app01")
    operator.result = PREFLIGHT
    assert links(operator) == (f"/vmkeep/vms/{KEY}", "")


def test_a_task_that_is_handed_a_point_leads_to_it_even_if_it_fails():
    assert links(VerifyOperator(task_id="verify", sealed=SEALED)) == (f"/vmkeep/vms/{KEY}", "/vmkeep/points/3f2a")


def test_the_lines_of_a_log_have_the_vm_the_disk_the_point_and_the_run_as_fields():
    job = {"run": "manual-1f0c.1", "vm": {"moref": "vm-1", "name": "app01"}, "disk": {"label": "Hard disk 1"}}
    copy = CopyDiskOperator(task_id="copy_disk", job=job)
    assert fields_of(copy) == {"vm": "app01", "disk": "Hard disk 1", "run_key": "manual-1f0c.1"}
    assert fields_of(VerifyOperator(task_id="verify", sealed=SEALED)) == {"vm": "app01", "point": REF}
    assert fields_of(PreflightOperator(task_id="preflight", vm="name:app01")) == {"vm": "name:app01"}
    with with_fields(copy):
        assert get_contextvars()["disk"] == "Hard disk 1"
    assert "disk" not in get_contextvars()


def test_a_run_that_found_nothing_has_no_link():
    assert links(PreflightOperator(task_id="preflight", vm="app01")) == ("", "")


@pytest.mark.parametrize("ref", ["app01", f"{KEY}/latest", "../x/20261127T010203Z-3f2a", 'a/20261127T010203Z-"x y'])
def test_words_that_are_no_ref_make_no_link(ref):
    assert page_of_point(ref) == ""


def test_a_link_keeps_the_path_under_which_airflows_pages_are_served(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/airflow/")
    assert page_of_point(REF) == "/airflow/vmkeep/points/3f2a"


def test_each_dag_about_one_vm_has_a_task_with_both_buttons():
    bag = DagBag(str(DAGS / "vm_backup.py"))
    for file in ("vm_restore", "export_point"):
        bag.collect_dags(str(DAGS / f"{file}.py"))
    for dag in bag.dags.values():
        buttons = [{link.name for link in task.operator_extra_links} for task in dag.tasks]
        assert {"VM", "Restore point"} in buttons, dag.dag_id
