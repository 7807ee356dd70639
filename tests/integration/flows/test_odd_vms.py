"""Backups and restores of VMs in vApps, and beside VMs that vSphere cannot read or that other software manages."""

from __future__ import annotations

import contextlib

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hands, hold_still, reconfigure, restore_whole, swept
from vmkeep.errors import ConflictError, UnsupportedError, VmOutOfReachError
from vmkeep.flows import backup
from vmkeep.flows.leftovers import find_run_snapshots
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_mapping import mapping_at
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.flows.sweep import Kind, State
from vmkeep.repository import open_repository
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import vim


@contextlib.contextmanager
def lost(lab, moref, state="inaccessible"):
    lab.post("vm/connection", {"vm": moref, "state": state})
    try:
        yield
    finally:
        lab.post("vm/connection", {"vm": moref, "state": "connected"})


@pytest.fixture(scope="module")
def vapp(lab):
    """`web01` is in the vApp `shop [1]`."""
    limits = {"cpuAllocation": vim.ResourceAllocationInfo(), "memoryAllocation": vim.ResourceAllocationInfo()}
    with hands(lab) as session:
        index = session.content.searchIndex
        folder = index.FindByInventoryPath("Lab/vm/Production")
        pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources/Production")
        made = pool.CreateVApp("shop [1]", vim.ResourceConfigSpec(**limits), vim.vApp.VAppConfigSpec(), folder)
        made.MoveIntoResourcePool([index.FindByInventoryPath("Lab/vm/Production/web01")])


def test_a_vm_in_a_vapp_is_backed_up_with_its_files_and_restored_beside_and_over(lab, site, vapp):
    path = "/Lab/vm/Production/shop [1]/web01"
    sealed = back_up(site, path)
    with open_repository(site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert point.vm.inventory_path == path
    assert {"config.xml", "vm.vmx"} <= set(point.attachments)
    assert not [warning for warning in point.warnings if "vmx" in warning]

    told = []
    made = restore_whole(site, f"latest:{path}", new_name="web01 again", power_on=False, announce=told.append)
    assert lab.hash(made.vm.moref, 2000) == lab.hash("web01", 2000)
    assert [line for line in told if "vApp /Lab/vm/Production/shop [1]" in line]
    with hands(lab) as session:
        assert session.vm(made.vm.moref).parent.name == "Production"
        assert session.vm(made.vm.moref).resourcePool.name == "Production"

    with open_repository(site.repository) as repository:
        mapping = mapping_at(repository, sealed.point).replace("name: web01\n", "name: mapped\n")
    mapped = plan_restore(site, make_request(point=sealed.point, run="mapped", mapping=mapping))
    assert mapped.place.folder_path == "/Lab/vm/Production"
    assert [line for line in mapped.warnings if "vApp /Lab/vm/Production/shop [1]" in line]

    before = lab.hash("web01", 2000)
    lab.write("web01", 2000, [{"offset": 0, "length": 65536, "seed": 9}])
    over = restore_whole(site, sealed.point, vm_selector=path, on_conflict=OnConflict.OVERWRITE)
    assert over.vm.moref == point.vm.moref
    assert lab.hash("web01", 2000) == before


@pytest.mark.parametrize("state", ["inaccessible", "orphaned", "invalid", "disconnected"])
def test_a_backup_of_a_vm_out_of_reach_is_refused_before_anything_is_touched(lab, site, state):
    moref = lab.vm("old01")["moref"]

    with lost(lab, moref, state), pytest.raises(UnsupportedError, match=f"VM old01 is not protectable: .*{state}"):
        back_up(site, "old01")
    assert lab.vm("old01")["snapshots"] == []


@pytest.mark.parametrize("state", ["inaccessible", "invalid"])
def test_a_vm_whose_original_is_out_of_reach_is_restored_to_a_new_one(lab, site, state):
    """Which is when a restore is needed most."""
    moref = lab.vm("db01")["moref"]
    point = back_up(site, "db01").point

    with lost(lab, moref, state):
        assert Restoring.new(site, point, f"db01 {state}").plan.place.folder_path == "/Lab/vm/Production"
        for vm in (None, "db01", f"moref:{moref}"):
            with pytest.raises(UnsupportedError, match=state):
                plan_restore(site, request(point, vm_selector=vm, on_conflict=OnConflict.OVERWRITE))
        with pytest.raises(ConflictError, match=f"a VM named db01 exists .* cannot be read .*{state}"):
            plan_restore(site, request(point, new_name="db01"))


def request(point, **options):
    return make_request(point=point, run="test-odd", **options)


def test_a_snapshot_that_cannot_be_seen_is_not_taken_for_removed(lab, site):
    pre, taken = hold_still(site, "moref:" + lab.vm("db01")["moref"])
    vm, run = taken.vm, pre.request.run

    with lost(lab, vm):
        for look in (
            lambda: backup.remove_snapshot(site, vm, run, vcenter=pre.vm.vcenter),
            lambda: find_run_snapshots(site, vm),
        ):
            with pytest.raises(VmOutOfReachError, match="its snapshots are not known"):
                look()
        assert find_run_snapshots(site) == (), "one VM that cannot be read keeps no other from being swept"
        found = {one.kind: one.state for one in swept(site) if one.vm and one.vm.moref == vm}
        assert found == {Kind.HIDDEN: State.LEFT, Kind.HELD: State.IN_USE}
    assert [found.run for found in find_run_snapshots(site)] == [run]
    assert backup.remove_snapshot(site, vm, run, vcenter=pre.vm.vcenter).snapshots_removed == 1
    assert lab.vm("db01")["snapshots"] == []


def test_a_vm_that_other_software_manages_is_backed_up_if_named_and_told_so(lab, site):
    moref = lab.vm("old01")["moref"]
    owner = vim.ext.ManagedByInfo(extensionKey="com.vmware.vim.eam", type="cluster-agent")
    reconfigure(lab, "old01", vim.vm.ConfigSpec(managedBy=owner))

    sealed = back_up(site, "old01")

    assert [line for line in sealed.warnings if "managed by com.vmware.vim.eam (cluster-agent)" in line]
    with hands(lab) as session:
        (record,) = [record for record in inventory.list_vms(session) if record.moref == moref]
    assert (record.managed_by, record.not_protectable) == ("com.vmware.vim.eam (cluster-agent)", None)
