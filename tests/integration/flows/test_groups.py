"""Groups of VMs on the command line: listed by a selector, and backed up by one."""

from __future__ import annotations

import json

import pytest

from tests.integration.flows.restoring import vcenter_of
from tests.patience import HANG
from vmkeep.errors import NotFoundError, Recovery, SelectorError, SomeFailedError, UsageError
from vmkeep.flows.pointlist import list_origins
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory, machines
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

SMALL = "(name:web01 or name:old01)"


@pytest.fixture
def run(vmkeep, lab, kept):
    """Run ``backup run`` into the shared repository, and return its result."""

    def back_up(*arguments, check=True):
        where = ("-r", kept[0].repository, "--vddk", str(lab.vddk))
        return vmkeep("backup", "run", *arguments, *where, check=check)

    return back_up


def listed(vmkeep, *arguments):
    return json.loads(vmkeep("vm", "list", *arguments, "--json").stdout)


def test_the_list_shows_the_vms_that_fit_with_their_newest_point_and_its_age(vmkeep, kept):
    site, _ = kept
    found = listed(vmkeep, "-s", f"{SMALL} and not powerstate:suspended", "-r", site.repository)

    assert [vm["name"] for vm in found] == ["old01", "web01"]
    web = found[1]
    assert web["last_point"] is not None
    assert 0 <= web["last_point_age_seconds"] < 3600
    assert found[0]["last_point_age_seconds"] is None
    assert {"moref", "name", "instance_uuid", "ip_address", "power_state", "size"} <= web.keys()


def test_the_list_names_the_policies_that_take_each_vm_where_policies_are_given(vmkeep, tmp_path):
    assert listed(vmkeep, "-s", "name:web01")[0]["policies"] is None

    (tmp_path / "policies").mkdir()
    found = listed(vmkeep, "-s", "name:web01", "--policies", str(tmp_path / "policies"))
    assert found[0]["policies"] == []
    assert "none" in vmkeep("vm", "list", "-s", "name:web01", "--policies", str(tmp_path / "policies")).stdout


def test_overdue_names_the_vms_without_a_young_good_point_and_ends_with_an_exit_code_of_its_own(vmkeep, kept, tmp_path):
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}\n"
    (tmp_path / "web.yaml").write_text(f"name: web\nselection: name:web01\nmax_age: 36h\n{window}")
    (tmp_path / "db.yaml").write_text(f"name: db\nselection: name:db01\nmax_age: 36h\n{window}")
    overdue = ("policy", "overdue", "--policies", str(tmp_path), "-r", kept[0].repository)
    late = vmkeep(*overdue, "--json", check=False)
    assert isinstance(late.exception, SomeFailedError)
    assert [(vm["policy"], vm["name"], vm["last_point_at"]) for vm in json.loads(late.stdout)] == [("db", "db01", None)]
    assert vmkeep(*overdue, "web").exit_code == 0
    with pytest.raises(NotFoundError, match="called gone"):
        vmkeep(*overdue, "gone")


def test_unproved_names_the_vms_that_only_the_vcenter_tells_of_and_counts_all(vmkeep, kept, tmp_path, monkeypatch):
    window = "window: {start: 22:00, end: 06:00, time_zone: UTC}\n"
    rules = "verification: {boot: {turn: 7d}, proved_within: 30d}\n"
    (tmp_path / "web.yaml").write_text(f"name: web\nselection: name:web01 or name:db01\n{window}{rules}")
    unproved = ("policy", "unproved", "--policies", str(tmp_path), "-r", kept[0].repository)

    late = vmkeep(*unproved, check=False)
    monkeypatch.delenv("VMKEEP_VCENTER")
    silent = vmkeep(*unproved)

    assert isinstance(late.exception, SomeFailedError)
    assert "2 of 2 VMs not proved in time" in late.stderr
    assert {name for name in ("web01", "db01") if name in late.stdout} == {"web01", "db01"}
    assert "no --vcenter tells which VMs the policies take, so that a VM without a restore point is" in silent.stderr
    assert "no VM of policy web is known: no newest restore point names it" in silent.stderr
    assert "0 of 0 VMs not proved in time" in silent.stderr


def test_a_condition_that_no_vm_fits_is_told_and_an_empty_list_is_no_error(vmkeep):
    done = vmkeep("vm", "list", "-s", "folder:Prodution", "--json")

    assert json.loads(done.stdout) == []
    assert "warning: no VM on 127.0.0.1 fits folder:Prodution" in done.stderr


def test_a_selector_that_cannot_be_read_is_refused_before_a_server_is_asked(vmkeep, monkeypatch):
    monkeypatch.setenv("VMKEEP_VCENTER", "nowhere.invalid")

    with pytest.raises(SelectorError, match=r"at character 12 \('powerstat:on'\)"):
        vmkeep("vm", "list", "-s", "name:a and powerstat:on")


def test_a_group_is_backed_up_the_vm_with_the_oldest_point_first(run, kept):
    done = json.loads(run("-s", SMALL, "--json", "--mode", "SNAPSHOT_EXCL_MEM", "--policy", "gold").stdout)

    assert [(vm["name"], vm["state"]) for vm in done["vms"]] == [("old01", "done"), ("web01", "done")]
    assert done["not_started"] == done["left_out"] == []
    with open_repository(kept[0].repository) as repository:
        assert {repository.load_point(vm["point"]).policy for vm in done["vms"]} == {"gold"}


def test_the_failure_of_one_vm_stops_no_other_and_ends_with_an_exit_code_of_its_own(run, lab):
    lab.fault(method="CreateSnapshot_Task", fault="InsufficientResourcesFault", count=1)

    result = run("-s", SMALL, "--json", "--parallel", "1", check=False)

    assert isinstance(result.exception, SomeFailedError)
    first, second = json.loads(result.stdout)["vms"]
    assert str(result.exception) == f"1 of 2 VMs could not be backed up: {first['name']}"
    assert result.exception.recovery is Recovery.STOP
    assert (first["state"], first["class"], second["state"]) == ("failed", "VSphereError", "done")
    assert f"1 of 2: {first['name']}: failed: " in result.stderr


def test_a_group_of_nobody_and_a_command_without_a_choice_are_refused(run):
    with pytest.raises(
        NotFoundError, match=r"^no VM on 127\.0\.0\.1 fits name:nobody: is it spelled as vSphere has it\?$"
    ):
        run("-s", "name:nobody")
    with pytest.raises(UsageError, match="name one VM, or give a selector"):
        run()
    with pytest.raises(UsageError, match="name one VM, or give a selector"):
        run("web01", "-s", "any:")


def test_a_vm_that_is_off_and_was_registered_anew_is_found_by_the_address_that_its_last_point_tells(
    vmkeep, run, lab, kept, tmp_path
):
    site, _ = kept
    with open_repository(site.repository) as repository:
        address = next(each.addresses[0] for each in list_origins(repository, catalog="sqlite://") if each.addresses)
    with open_session(vcenter_of(lab)) as session:
        web = inventory.find_vm(session, "web01")
        assert web.ip_address == address
        described = inventory.describe_vm(session, web.moref)
        machines.power_off(session, web.moref)
        session.vm(web.moref).UnregisterVM()
        folder = session.content.searchIndex.FindByInventoryPath("Lab/vm/Production")
        pool = session.content.searchIndex.FindByInventoryPath("Lab/host/Cluster1/Resources")
        again = run_task(
            session,
            lambda: folder.RegisterVM_Task(described.vmx, "web01", False, pool, None),
            what="register",
            timeout=HANG,
            look=lambda: None,
        )._moId
        assert inventory.find_vm(session, "web01").ip_address is None

    (found,) = listed(vmkeep, "-s", f"ipaddr:{address}", "-r", site.repository)
    assert (found["moref"], found["ip_address"], found["last_ip_address"]) == (again, None, address)
    assert listed(vmkeep, "-s", f"ipaddr:{address}") == []
    (tmp_path / "near.yaml").write_text(
        f"name: near\nselection: ipaddr:{address}\nwindow: {{start: 22:00, end: 06:00, time_zone: UTC}}\n"
    )
    explain = ("policy", "explain", "web01", "--policies", str(tmp_path), "--json")
    assert json.loads(vmkeep(*explain).stdout)["policy"] is None
    assert json.loads(vmkeep(*explain, "-r", site.repository).stdout)["policy"] == "near"
    sealed = json.loads(run(f"ipaddr:{address}", "--json").stdout)
    assert sealed["vm"] == "web01"
    (member,) = json.loads(run("-s", f"ipaddr:{address}", "--json").stdout)["vms"]
    assert (member["moref"], member["state"]) == (again, "done")
