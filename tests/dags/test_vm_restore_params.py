"""Each field of a form or a REST call about a restore arrives as it was said."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.flows.restore_request import NewVmOptions, OverOptions, RestoreRequest, make_request
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.model.job import to_plain
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.point import VmIdentity
from vmkeep.model.rdm import RdmReplacement
from vmkeep_airflow.operators.approve_restore import ApproveRestoreOperator
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
    assert asked(dag, point="latest:app01") == make_request(point="latest:app01", **OWN)


@pytest.mark.parametrize("empty", [None, [], ""])
def test_empty_fields_say_nothing(dag, empty):
    said = dict.fromkeys(("networks", "disk_datastores", "luns", "datastore", "new_name"), empty or None)

    assert asked(dag, point="x", **said) == make_request(point="x", **OWN)


def test_every_field_about_a_new_vm_is_one_that_a_restore_over_a_vm_refuses(dag):
    """None is ignored then."""
    shown = {name for name, param in dag.params.items() if param.schema.get("section") == "New VM"}

    assert shown == {field.name for field in fields(NewVmOptions)} - {"drill"}


def test_every_field_about_an_existing_vm_is_one_that_a_restore_to_a_new_vm_refuses(dag):
    shown = {name for name, param in dag.params.items() if param.schema.get("section") == "Existing VM"}

    assert shown == {field.name for field in fields(OverOptions)}
    assert asked(dag, point="x", disks=["scsi0:1"], disk_map=["a=b"]).over.disk_map == ("a=b",)


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

    new_vm = asked(dag, point="x", new_name="y", **said).new_vm

    assert new_vm.networks == ("VM Network=a=b [c]", "Network adapter 2=none")
    assert new_vm.disk_datastores == ("scsi0:1=[NAS [prod]]",)
    assert (new_vm.rdms, new_vm.mapping) == (("scsi1:1=omit",), "name: y\nhost: esx01\n")
    assert new_vm.luns == ("scsi1:0=naa.1",)
    assert new_vm.physical_rdm == RdmReplacement.LUN
    assert new_vm.connect_networks


@pytest.mark.parametrize(
    ("name", "value"), [("networks", "A=B"), ("luns", [1]), ("connect_networks", "maybe"), ("physical_rdm", "maybe")]
)
def test_values_of_another_kind_are_refused_by_the_params(dag, name, value):
    with pytest.raises(ValueError):
        dag.params.get_param(name).resolve(value)


def test_how_a_vm_is_written_over_arrives_as_it_was_chosen(dag):
    request = asked(dag, point="x", all_blocks=True, verify="all", undo="snapshot", dry_run=True)

    assert (request.over.all_blocks, request.verify, request.over.undo) == (True, Verify.ALL, Undo.SNAPSHOT)
    assert request.dry_run


def test_after_a_plan_alone_every_later_task_is_skipped():
    told = {}
    plan = RestorePlan(
        request=make_request(point="x", dry_run=True, **OWN), point="vm/x", vm=VmIdentity(name="app01", key="k"),
        vcenter=None, target=None, target_name="app01", matches=(),
    )  # fmt: skip
    task = ApproveRestoreOperator(task_id="approve", plan=to_plain(plan), on_conflict="overwrite")

    with pytest.raises(AirflowSkipException, match="only the plan for VM app01 was asked for"):
        task.execute(
            {"ti": SimpleNamespace(dag_id="vm_restore", xcom_push=lambda key, value: told.update({key: value}))}
        )

    assert told["return_value"]["dry_run"] is True, "so that close_run sees that nothing was marked by hand"
