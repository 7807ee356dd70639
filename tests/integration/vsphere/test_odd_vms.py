"""VMs in vApps, VMs whose configuration vSphere cannot read, VMs that other software manages."""

from __future__ import annotations

import contextlib
import copy

import pytest

from tests.patience import HANG
from vmkeep.errors import NotFoundError, UnsupportedError
from vmkeep.model.point import VmIdentity
from vmkeep.vsphere import claims, inventory, machines
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.places import PlaceRequest, resolve_place
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task
from vmlab.managed.properties import set_connection

NO_LIMITS = {"cpuAllocation": vim.ResourceAllocationInfo(), "memoryAllocation": vim.ResourceAllocationInfo()}


def make_vapp(pool, name, folder):
    return pool.CreateVApp(name, vim.ResourceConfigSpec(**NO_LIMITS), vim.vApp.VAppConfigSpec(), folder)


@pytest.fixture(scope="module")
def shop(lab, request):
    """A vApp [shop] in folder Production that holds db01, and one inside it that holds web01."""
    at = request.getfixturevalue("lab").describe()
    from tests.integration.vsphere.conftest import at as reach

    with open_session(reach(lab, at["port"])) as session:
        index = session.content.searchIndex
        pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources/Production")
        outer = make_vapp(pool, "[shop] 1/2", index.FindByInventoryPath("Lab/vm/Production"))
        inner = make_vapp(outer, "inner", None)
        outer.MoveIntoResourcePool([index.FindByInventoryPath("Lab/vm/Production/db01")])
        inner.MoveIntoResourcePool([index.FindByInventoryPath("Lab/vm/Production/web01")])
        return outer._moId, inner._moId


@pytest.mark.parametrize(
    ("name", "path"),
    [("db01", "/Lab/vm/Production/[shop] 1%2f2/db01"), ("web01", "/Lab/vm/Production/[shop] 1%2f2/inner/web01")],
)
def test_a_vm_in_a_vapp_has_a_path_by_which_it_is_found(session, shop, name, path):
    vm = inventory.find_vm(session, name)

    identity = inventory.describe_vm(session, vm.moref).identity
    assert identity.inventory_path == path
    assert inventory.find_vm(session, path) == vm
    assert inventory.find_vm(session, f"name:{path}") == vm


def test_a_path_into_a_vapp_is_found_where_the_server_walks_through_none(session, shop, lab):
    """Whether FindByInventoryPath walks through vApps is not known of a real vCenter."""
    wanted = inventory.find_vm(session, "web01")
    index = session.content.searchIndex
    index.__dict__["FindByInventoryPath"] = lambda _path: None

    assert inventory.find_vm(session, "/Lab/vm/Production/[shop] 1%2f2/inner/web01") == wanted
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, "/Lab/vm/Production/[shop] 1%2f2/web01")


@pytest.mark.parametrize("walks", [True, False], ids=["by the server's look-up", "by comparing paths"])
def test_a_new_vm_goes_beside_the_vapp_of_its_original_and_that_is_said(session, shop, walks):
    vm = inventory.describe_vm(session, inventory.find_vm(session, "web01").moref)
    if not walks:
        session.content.searchIndex.__dict__["FindByInventoryPath"] = lambda _path: None

    place = resolve_place(session, vm.identity, PlaceRequest(), "web01 restored")

    assert place.folder_path == "/Lab/vm/Production"
    assert place.pool_path == "/Lab/host/Cluster1/Resources/Production"
    (note,) = place.notes
    assert "vApp" in note
    assert "/Lab/vm/Production/[shop] 1%2f2/inner" in note


@pytest.mark.parametrize("name", ["[shop] 1/2", "inner"])
def test_a_vapp_is_no_resource_pool_for_a_new_vm(session, shop, name):
    vm = inventory.describe_vm(session, inventory.find_vm(session, "app01").moref)

    with pytest.raises(UnsupportedError, match="is a vApp"):
        resolve_place(session, vm.identity, PlaceRequest(resource_pool=name), "new")


def test_a_vapp_that_is_gone_sends_the_new_vm_to_no_strange_place(session, shop):
    original = VmIdentity(name="x", key="x", inventory_path="/Lab/vm/Production/gone/x")

    place = resolve_place(session, original, PlaceRequest(), "x")

    assert place.folder_path in ("/Lab/vm", "/Lab/vm/Production")


@pytest.fixture(params=["inaccessible", "orphaned", "invalid"])
def lost(lab, session, request):
    """A VM whose configuration cannot be read, until the test is over."""
    vm = inventory.find_vm(session, "old01")
    set_connection(lab.site, session.vm(vm.moref), request.param)
    yield vm.moref, request.param
    set_connection(lab.site, session.vm(vm.moref), "connected")


def test_a_vm_without_a_configuration_is_listed_with_the_reason(session, lost):
    moref, state = lost

    (record,) = [record for record in inventory.list_vms(session) if record.moref == moref]

    assert record.name == "old01"
    assert record.not_protectable is not None
    assert state in record.not_protectable
    assert all(other.not_protectable is None for other in inventory.list_vms(session) if other.moref != moref)


def test_a_vm_without_a_configuration_is_found_and_refused_by_what_is_wrong(session, lost):
    moref, state = lost

    assert inventory.find_vm(session, "old01").moref == moref
    assert inventory.find_vm(session, "/Lab/vm/old01").moref == moref
    for look in (
        lambda: inventory.describe_vm(session, moref),
        lambda: inventory.held_disks(session, moref, None),
        lambda: inventory.config_xml(session, moref),
    ):
        with pytest.raises(UnsupportedError, match=f"not protectable: .*{state}"):
            look()


def test_a_mark_that_cannot_be_read_is_not_taken_for_none(session, lost):
    moref, state = lost

    with pytest.raises(UnsupportedError, match=state):
        claims.claim_on(session, moref)
    with pytest.raises(UnsupportedError, match=state):
        claims.let_go(session, moref, "run")
    assert machines.destroy_claimed(session, "run") == 0


def test_the_secondary_of_a_fault_tolerant_vm_is_refused_with_its_reason_and_the_primary_is_not(session, lab):
    primary, secondary = (session.vm(inventory.find_vm(session, name).moref) for name in ("app01", "web01"))
    with pairs(lab, primary, secondary):
        listed = {record.moref: record for record in inventory.list_vms(session)}
        described = [inventory.describe_vm(session, vm._moId) for vm in (primary, secondary)]
        lab.site.world.update(secondary, name="app01")
        assert inventory.find_vm(session, "app01").moref == primary._moId, "a secondary has its primary's name"
        lab.site.world.update(secondary, name="web01")

    assert listed[primary._moId].not_protectable is None
    assert [vm.fault_tolerant for vm in described] == [True, True]
    for found in (listed[secondary._moId], described[1]):
        assert "secondary of a fault-tolerant VM" in found.not_protectable


@contextlib.contextmanager
def pairs(lab, primary, secondary):
    """One VM follows the other."""
    kinds, world = (
        {1: vim.vm.FaultTolerancePrimaryConfigInfo, 2: vim.vm.FaultToleranceSecondaryConfigInfo},
        lab.site.world,
    )
    before = {vm: world.get(vm, "config") for vm in (primary, secondary)}
    uuids = [config.instanceUuid for config in before.values()]
    for role, vm in ((1, primary), (2, secondary)):
        config = copy.deepcopy(before[vm])
        told = {"secondaries": [secondary]} if role == 1 else {"primaryVM": primary}
        config.ftInfo = kinds[role](role=role, instanceUuids=uuids, configPaths=["[ds] a.vmx"], **told)
        world.update(vm, config=config)
    try:
        yield
    finally:
        for vm, config in before.items():
            world.update(vm, config=config)


def test_a_vm_that_others_manage_is_listed_with_them(session):
    vm = inventory.find_vm(session, "db01").moref
    spec = vim.vm.ConfigSpec(managedBy=vim.ext.ManagedByInfo(extensionKey="com.vmware.vim.eam", type="cluster-agent"))
    run_task(session, lambda: session.vm(vm).ReconfigVM_Task(spec), what="manage", timeout=HANG, look=lambda: None)

    (record,) = [record for record in inventory.list_vms(session) if record.moref == vm]
    assert record.managed_by == "com.vmware.vim.eam (cluster-agent)"
    assert record.managed_by == "com.vmware.vim.eam (cluster-agent)"
    assert record.not_protectable is None, "named, it is backed up"
    assert inventory.describe_vm(session, vm).managed_by == "com.vmware.vim.eam (cluster-agent)"
