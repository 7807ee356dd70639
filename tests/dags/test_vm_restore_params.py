"""What a form or a REST call says of a restore arrives as it was said."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from vmkeep.flows.restore_saved import OF_A_NEW_VM, OF_AN_EXISTING_VM
from vmkeep.flows.values import PhysicalRdm, RestoreRequest
from vmkeep_airflow.operators.plan_restore import request_from

DAGS = Path(__file__).resolve().parents[2] / "dags"
OWN = {"run": "r/1", "owner": ""}


@pytest.fixture(scope="module")
def dag():
    return DagBag(str(DAGS / "vm_restore.py")).dags["vm_restore"]


def asked(dag, **given) -> RestoreRequest:
    """The request that the first task makes of params."""
    names = dag.task_dict["plan"].request
    values = {name: dag.params.get_param(name).resolve(suppress_exception=True) for name in names} | given
    return request_from(values, OWN)


def test_an_untouched_form_says_no_more_than_the_point(dag):
    assert asked(dag, point="latest:app01") == RestoreRequest(point="latest:app01", **OWN)


@pytest.mark.parametrize("empty", [None, [], ""])
def test_empty_fields_say_nothing(dag, empty):
    said = dict.fromkeys(("networks", "disk_datastores", "luns", "datastore", "new_name"), empty or None)

    assert asked(dag, point="x", **said) == RestoreRequest(point="x", **OWN)


def test_every_field_about_a_new_vm_is_one_that_a_restore_over_a_vm_refuses(dag):
    """So none is ignored."""
    shown = {name for name, param in dag.params.items() if param.schema.get("section") == "New VM"}

    assert shown == set(OF_A_NEW_VM)


def test_every_field_about_an_existing_vm_is_one_that_a_restore_to_a_new_vm_refuses(dag):
    shown = {name for name, param in dag.params.items() if param.schema.get("section") == "Existing VM"}

    assert shown == set(OF_AN_EXISTING_VM)
    assert asked(dag, point="x", disks=["scsi0:1"], disk_map=["a=b"]).disk_map == ("a=b",)


def test_mappings_arrive_as_they_were_typed(dag):
    said = {
        "networks": ["VM Network=a=b [c]", "Network adapter 2=none"],
        "disk_datastores": ["scsi0:1=[NAS [prod]]"],
        "luns": ["scsi1:0=naa.1"],
        "rdms": ["scsi1:1=omit"],
        "mapping": "name: y\nhost: esx01\n",
        "physical_rdm": "lun",
        "connect_networks": True,
    }

    request = asked(dag, point="x", new_name="y", **said)

    assert request.networks == ("VM Network=a=b [c]", "Network adapter 2=none")
    assert request.disk_datastores == ("scsi0:1=[NAS [prod]]",)
    assert (request.rdms, request.mapping) == (("scsi1:1=omit",), "name: y\nhost: esx01\n")
    assert request.luns == ("scsi1:0=naa.1",)
    assert request.physical_rdm is PhysicalRdm.LUN
    assert request.connect_networks


@pytest.mark.parametrize(
    ("name", "value"), [("networks", "A=B"), ("luns", [1]), ("connect_networks", "maybe"), ("physical_rdm", "maybe")]
)
def test_values_of_another_kind_are_refused_by_the_params(dag, name, value):
    with pytest.raises(ValueError):
        dag.params.get_param(name).resolve(value)
