"""Tasks of a restore cleared and marked by hand, in a running Airflow: no VM is touched unasked, no run stays green."""

from __future__ import annotations

import hashlib
import itertools
import time

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.integration.airflow.running.restore_runs import (
    answer,
    answered,
    blame,
    clear,
    quoted,
    seen,
    task,
    wait_for,
)
from tests.patience import HANG, eventually
from vmkeep.images import export_image
from vmkeep.repository import open_site_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task
from vmkeep_airflow import secondperson

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

STUCK = {"nfc": {"on": "write", "hang_seconds": 300, "after_bytes": 0, "count": None}}


def tried(found: dict[str, object]) -> bool:
    """Return whether a task has failed once and comes again, or does so already."""
    return found["state"] == "up_for_retry" or int(str(found["try_number"])) > 1


def look(control, vm: str) -> tuple[object, ...]:
    return control.vm(vm)["power"], control.hashes(vm)


def require_known_as_one_person(api, run: str) -> None:
    """Require that this Airflow keeps by one name who has started a run and who has answered it, if it is one person.

    Where a second person is demanded, all rests on that. The page of who did what names the answer, too.
    """
    asked = api.call("GET", f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}/taskInstances/approve/-1/hitlDetails")
    with pytest.raises(AirflowFailException, match="admin has started this run"):
        secondperson.require(api.run("vm_restore", run)["triggering_user_name"], asked["responded_by_user"])
    done = [row["done"] for row in api.call("GET", f"/vmkeep/api/audit?person=ADMIN&about={quoted(run)}")["rows"]]
    assert done[-1] == "started vm_restore: on_conflict prompt"
    assert "said yes to the question of task approve" in done


def test_a_finished_restore_touches_its_vm_no_more_and_asks_again_if_cleared_whole(api, control, web01_point):
    backed_up = control.hashes("web01")
    control.write("web01", 2000, [(0, 1 << 20)])
    run = api.trigger("vm_restore", point=web01_point, on_conflict="prompt")
    wait_for(api, run, "approve", "awaiting_input")
    assert control.vm("web01")["power"] == "poweredOn"
    answer(api, run, "Approve")
    assert api.wait("vm_restore", run, seconds=HANG) == "success", blame(api, run)
    assert control.hashes("web01") == backed_up
    require_known_as_one_person(api, run)
    control.write("web01", 2000, [(0, 1 << 20)])
    before = look(control, "web01")
    assert before[0] == "poweredOn"

    for cleared in (
        [["write_disk", 0]], ["plan_writes", "write_disk", "finish", "clean_up"], ["plan"], ["plan", "prepare_target"],
    ):  # fmt: skip
        clear(api, run, *cleared)
        assert api.wait("vm_restore", run, seconds=HANG) == "failed", cleared
        assert look(control, "web01") == before, cleared
    refused = api.log("vm_restore", task(api, run, "prepare_target"))
    assert "another plan" in refused

    asked = int(str(task(api, run, "approve")["try_number"]))
    clear(api, run)
    wait_for(api, run, "approve", "awaiting_input", tries=asked + 1)
    assert look(control, "web01") == before
    answer(api, run, "Reject")
    assert api.wait("vm_restore", run, seconds=HANG) == "failed"
    assert look(control, "web01") == before


def test_a_yes_to_a_plan_that_is_stale_or_was_made_anew_changes_nothing(api, control, web01_point, site):
    before = look(control, "web01")
    anew = api.trigger("vm_restore", point=web01_point, on_conflict="prompt")
    stale = api.trigger("vm_restore", point=web01_point, on_conflict="prompt")
    for run in (anew, stale):
        wait_for(api, run, "approve", "awaiting_input")
    for asked in itertools.count(1):
        clear(api, anew, "plan")
        wait_for(api, anew, "plan", "success", tries=asked + 1)
        if answered(api, anew, "Approve", asked=asked):  # else the new plan is shown, and a yes to it counts
            break
    assert api.wait("vm_restore", anew, seconds=HANG) == "failed"
    assert "made anew" in api.log("vm_restore", task(api, anew, "approve"))
    moref = control.vm("web01")["moref"]
    with open_session(site.vcenter) as session:
        spec = vim.vm.ConfigSpec(name="web01-live")
        run_task(
            session, lambda: session.vm(moref).ReconfigVM_Task(spec), what="rename", timeout=HANG, look=lambda: None
        )
        try:
            answer(api, stale, "Approve")
            assert api.wait("vm_restore", stale, seconds=HANG) == "failed"
        finally:
            spec = vim.vm.ConfigSpec(name="web01")
            run_task(
                session, lambda: session.vm(moref).ReconfigVM_Task(spec), what="rename", timeout=HANG, look=lambda: None
            )
        assert inventory.describe_vm(session, moref).claim is None
    assert "its name is web01-live, not web01" in api.log("vm_restore", task(api, stale, "prepare_target"))
    assert look(control, "web01") == before


def test_a_write_marked_as_success_by_hand_is_no_written_disk(api, control, web01_point):
    control.call("POST", "/fault", STUCK)
    run = api.trigger("vm_restore", point=web01_point, new_name="marked")
    writing = wait_for(api, run, "write_disk", "running")
    api.call(
        "PATCH",
        f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}/taskInstances/write_disk/{writing['map_index']}",
        {"new_state": "success", "include_downstream": False},
    )
    wait_for(api, run, "finish", "failed")
    control.call("POST", "/clear", {})
    assert api.wait("vm_restore", run, seconds=HANG) == "failed"
    assert "has not written" in api.log("vm_restore", task(api, run, "finish"))
    assert "marked" not in {vm["name"] for vm in control.call("GET", "/state")["vms"]}


def test_a_restore_marked_failed_in_mid_write_leaves_no_vm(api, control, web01_point):
    control.call("POST", "/fault", STUCK)
    run = api.trigger("vm_restore", point=web01_point, new_name="marked-failed")
    wait_for(api, run, "write_disk", "running")
    while not control.call("GET", "/state")["nfc"]:
        assert api.seen_state("vm_restore", run) == "running"
        time.sleep(0.1)
    api.call("PATCH", f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}", {"state": "failed"})
    # The disk stays locked as long as the write hangs.
    eventually(lambda: tried(seen(api, run, "clean_up")), "a failed try of the clean-up")
    control.call("POST", "/clear", {})
    wait_for(api, run, "clean_up", "success")
    wait_for(api, run, "close_run", "failed")
    assert api.wait("vm_restore", run, seconds=HANG) == "failed"
    assert "marked-failed" not in {vm["name"] for vm in control.call("GET", "/state")["vms"]}


def test_a_restore_that_keeps_its_vm_goes_on_when_its_failed_tasks_are_cleared(
    api, control, web01_point, site, tmp_path
):
    control.call("POST", "/fault", STUCK)
    run = api.trigger("vm_restore", point=web01_point, new_name="kept", on_failure="keep", power_on=False)
    wait_for(api, run, "write_disk", "running")
    api.call("PATCH", f"/api/v2/dags/vm_restore/dagRuns/{quoted(run)}", {"state": "failed"})
    control.call("POST", "/clear", {})
    wait_for(api, run, "clean_up", "success")
    assert api.wait("vm_restore", run, seconds=HANG) == "failed"
    moref = control.vm("kept")["moref"]

    clear(api, run, "write_disk", "finish", "clean_up", "close_run")

    assert api.wait("vm_restore", run, seconds=HANG) == "success", blame(api, run)
    with open_site_repository(site) as repository:
        export_image(repository, repository.load_point(web01_point), 0, tmp_path / "disk")
    with (tmp_path / "disk").open("rb") as disk:
        backed_up = hashlib.file_digest(disk, "sha256").hexdigest()
    assert (control.vm("kept")["moref"], control.hashes("kept")) == (moref, {2000: backed_up})
