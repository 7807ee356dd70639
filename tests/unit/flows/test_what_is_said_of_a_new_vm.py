"""Nothing that is said of a new VM is ignored where a restore goes over one that exists."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from vmkeep.cli.main import cli
from vmkeep.errors import UsageError
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.model.rdm import RdmReplacement
from vmkeep.model.site import Site, VCenter

NOWHERE = Site(repository="/nowhere", vddk="/nowhere", vcenter=VCenter(host="nowhere.invalid", user="u", password="p"))
SAID = [
    ("networks", ("VM Network=none",), "--network=VM Network=none"),
    ("connect_networks", True, "--connect-networks"),
    ("datastore", "datastore2", "--datastore=datastore2"),
    ("disk_datastores", ("scsi0:0=datastore2",), "--disk-datastore=scsi0:0=datastore2"),
    ("luns", ("scsi1:0=naa.1",), "--lun=scsi1:0=naa.1"),
    ("physical_rdm", RdmReplacement.OMIT, "--physical-rdm=omit"),
    ("folder", "/Lab/vm/Test", "--folder=/Lab/vm/Test"),
    ("resource_pool", "Production", "--resource-pool=Production"),
    ("host", "esx02.localhost", "--host=esx02.localhost"),
    ("keep_identity", True, "--keep-identity"),
]


@pytest.mark.parametrize(("field", "value", "option"), SAID)
@pytest.mark.parametrize("on_conflict", OnConflict)
@pytest.mark.parametrize("vm", [None, "app01"])
def test_a_restore_over_a_vm_refuses_it_before_it_looks_at_anything(field, value, option, on_conflict, vm):
    request = make_request(point="latest:app01", run="r", vm_selector=vm, on_conflict=on_conflict, **{field: value})

    with pytest.raises(
        UsageError, match=rf"^{option.partition('=')[0]} \(Airflow: {field}\) is about a new VM.*--new-name"
    ):
        plan_restore(NOWHERE, request)


@pytest.mark.parametrize(("field", "value", "option"), SAID)
def test_the_command_refuses_it_as_wrong_usage(field, value, option, tmp_path):
    where = ["-r", str(tmp_path), "--vcenter", "nowhere.invalid", "--user", "u", "--vddk", str(tmp_path)]

    done = CliRunner(env={"VMKEEP_PASSWORD": "p"}).invoke(
        cli, ["restore", "run", "latest:app01", "--on-conflict", "overwrite", *where, option]
    )

    assert isinstance(done.exception, UsageError)
    assert f"{option.partition('=')[0]} (Airflow: " in str(done.exception)
