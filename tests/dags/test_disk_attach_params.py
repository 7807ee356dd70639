"""The fields of a form or a REST call for new disks arrive in the request as they were typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from vmkeep.errors import UsageError
from vmkeep.flows.attach_values import AttachRequest
from vmkeep_airflow.operators.attach_disks import request_from

OWN = {"run": "r/1", "owner": "me"}


@pytest.fixture(scope="module")
def dag():
    return DagBag(str(Path(__file__).parents[2] / "dags/disk_attach.py")).dags["disk_attach"]


def asked(dag, **given) -> AttachRequest:
    """The request that the task makes of params."""
    names = dag.task_dict["attach"].request
    return request_from(
        {name: dag.params.get_param(name).resolve(suppress_exception=True) for name in names} | given, OWN
    )


def test_the_fields_of_the_form_arrive_as_they_were_typed(dag):
    given = {"point": "latest:app01", "disks": ["scsi0:1", "Hard disk 3"], "vm": "moref:vm-7"}

    assert asked(dag, **given) == AttachRequest(
        point="latest:app01", disks=("scsi0:1", "Hard disk 3"), vm_selector="moref:vm-7", **OWN
    )
    assert asked(dag, **given, at=["scsi0:1=scsi1:0"], datastore="a [b]", dry_run=True) == AttachRequest(
        point="latest:app01", disks=("scsi0:1", "Hard disk 3"), vm_selector="moref:vm-7", at=("scsi0:1=scsi1:0",),
        datastore="a [b]", **OWN,
    )  # fmt: skip


def test_a_run_without_a_vm_or_a_disk_is_refused(dag):
    with pytest.raises(UsageError, match="VM that gets the disks is not named"):
        asked(dag, point="p", disks=["a"])
    with pytest.raises(UsageError, match="no disk is named"):
        asked(dag, point="p", disks=[], vm="b")


def test_the_task_is_never_tried_again_because_a_second_try_might_attach_the_disks_once_more(dag):
    assert dag.task_dict["attach"].retries == 0
