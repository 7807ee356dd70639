"""A recovery in a running Airflow: one call starts it, and a run whose VM was not well goes on when it is cleared."""

from __future__ import annotations

import pytest

from tests.patience import HANG, eventually
from vmkeep.repository import open_repository
from vmkeep.vsphere import machines
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAG = "disaster_recovery"
NEW = "web01-recovered"
PLAN = """\
name: site
groups:
  - {name: web, selection: name:web01, rename: "{name}-recovered", power: 'on', approval: true, probes: {within: 1}}
"""


@pytest.fixture
def removed(site, control):
    """Remove the VM that the recovery made, because the lab is shared."""
    yield
    for vm in control.call("GET", "/state")["vms"]:
        if vm["name"] == NEW:
            with open_session(site.vcenter) as session:
                machines.power_off(session, vm["moref"])
                run_task(session, session.vm(vm["moref"]).Destroy_Task, what=NEW, timeout=HANG, look=lambda: None)


@pytest.mark.usefixtures("web01_point", "removed")
def test_one_call_recovers_a_site_and_a_run_whose_vm_was_not_well_goes_on_when_it_is_cleared(api, control, site):
    eventually(lambda: api.is_registered(DAG), "the DAG is registered")

    run = api.trigger(DAG, plan=PLAN, approved=["web"])
    assert api.wait(DAG, run, seconds=HANG) == "failed"
    assert {one["task_id"]: one["state"] for one in api.tasks(DAG, run)} == {
        "approve": "success", "recover": "success", "vm": "failed", "clean_up": "success", "report": "failed",
    }  # fmt: skip
    (vm,) = [one for one in api.tasks(DAG, run) if one["task_id"] == "vm"]
    made = control.vm(NEW)["moref"]
    assert (vm["state"], vm["rendered_map_index"]) == ("failed", NEW)
    assert "VMware Tools do not run in the guest" in api.log(DAG, vm)

    control.call("POST", "/guest/tools", {"vm": NEW, "running": True, "address": "192.168.10.99"})
    body = {
        "dry_run": False, "dag_run_id": run, "task_ids": ["recover"], "include_downstream": True,
        "only_failed": False, "reset_dag_runs": True,
    }  # fmt: skip
    api.call("POST", f"/api/v2/dags/{DAG}/clearTaskInstances", body)
    ended = api.wait(DAG, run, seconds=HANG)
    assert ended == "success", [api.log(DAG, one)[-1500:] for one in api.tasks(DAG, run) if one["state"] == "failed"]

    assert control.vm(NEW)["moref"] == made
    assert api.xcom(DAG, run, "report") == {"healthy": 1}
    with open_repository(site.repository) as repository:
        assert len(repository.recoveries.runs()) == 1
