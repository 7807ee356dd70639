"""Folders, pools, hosts and datastores are named as they are seen, whatever is in their names."""

from __future__ import annotations

import pytest

from tests.integration.vsphere.conftest import at
from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.vsphere import choices, create, inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.names import decode_name, encode_name
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.places import PlaceRequest, resolve_place
from vmkeep.vsphere.session import open_session
from vmlab.control.additions import add
from vmlab.managed.vcenter import add_companions
from vmlab.managed.world import adopt, limit_hosts

NAMES = (
    "NAS [prod]", "ds (1)", "a]b", "50%", "a%2fb", "a/b", "/abs", 'rack "6"', "it's", " blank", "blank ", "a  b", "-x",
    "+&=?#;", "ünï ☃", "back\\slash", "a:b@c", ".hidden",
)  # fmt: skip


@pytest.fixture(scope="module")
def odd(lab):
    """A folder, a pool, a host and a datastore of each name, in the lab of this module; the VM that is restored."""
    limits = {"cpuAllocation": vim.ResourceAllocationInfo(), "memoryAllocation": vim.ResourceAllocationInfo()}
    with open_session(at(lab, lab.port)) as session:
        index = session.content.searchIndex
        for name in NAMES:
            index.FindByInventoryPath("Lab/vm/Test").CreateFolder(encode_name(name))
            pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources")
            pool.CreateResourcePool(encode_name(name), vim.ResourceConfigSpec(**limits))
            for kind in ("host", "datastore"):
                add(lab.site, {"kind": kind, "name": encode_name(name)})
        moref = inventory.find_vm(session, "web01").moref
        return inventory.describe_vm(session, moref).identity, inventory.config_xml(session, moref)


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_found_by_the_names_of_its_parts(session, odd, name):
    original, xml = odd
    request = PlaceRequest(folder=name, resource_pool=name, host=name, datastore=name)
    place = resolve_place(session, original, request, "new")
    built = create.plan_vm(session, xml, place, SpecOptions(name="new"))

    assert place.folder_path == f"/Lab/vm/Test/{encode_name(name)}"
    assert place.pool_path == f"/Lab/host/Cluster1/Resources/{encode_name(name)}"
    assert decode_name(place.host_name) == name
    assert decode_name(built.datastore) == name
    assert built.spec.files.vmPathName == f"[{encode_name(name)}]"


@pytest.mark.parametrize("name", NAMES)
def test_a_place_is_found_by_the_paths_that_a_plan_shows(session, odd, name):
    original, _ = odd
    shown = resolve_place(session, original, PlaceRequest(folder=name, resource_pool=name), "new")

    again = resolve_place(
        session, original, PlaceRequest(folder=shown.folder_path, resource_pool=shown.pool_path), "new"
    )

    assert (again.folder, again.pool) == (shown.folder, shown.pool)


def test_a_folder_is_found_by_the_path_that_vsphere_shows_and_by_the_whole_path(session, odd):
    original, _ = odd
    for path in ("/Lab/vm/Test", "/Lab/Test"):
        assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder_path == "/Lab/vm/Test"
    with pytest.raises(NotFoundError):
        resolve_place(session, original, PlaceRequest(folder="/Test"), "new")
    named_vm = session.content.searchIndex.FindByInventoryPath("Lab/vm").CreateFolder("vm")
    named_vm.CreateFolder("Test")
    for path, place in (("/Lab/vm/Test", "/Lab/vm/Test"), ("/Lab/vm/vm/Test", "/Lab/vm/vm/Test")):
        assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder_path == place


def test_a_path_of_any_depth_is_read_in_one_call(session, lab):
    folder = session.content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    for name in ("a", "b", "c"):
        folder = folder.CreateFolder(name)
    before = lab.site.faults.calls["RetrievePropertiesEx"]

    assert inventory_path_of(session, folder).path == "/Lab/vm/Test/a/b/c"

    assert lab.site.faults.calls["RetrievePropertiesEx"] - before == 1


def test_a_name_that_is_the_path_of_another_folder_is_refused(session, odd):
    original, _ = odd
    test = session.content.searchIndex.FindByInventoryPath("Lab/vm/Test")
    made = test.CreateFolder(encode_name("/Lab/vm/Production"))

    with pytest.raises(AmbiguousError):
        resolve_place(session, original, PlaceRequest(folder="/Lab/vm/Production"), "new")
    path = inventory_path_of(session, made).path
    assert resolve_place(session, original, PlaceRequest(folder=path), "new").folder == made._moId


@pytest.mark.parametrize("name", ["NAS [prod", "NAS  [prod]", "50", "a%2Fb", "blank  ", "A/B"])
def test_a_place_that_is_nearly_named_is_no_place(session, odd, name):
    original, _ = odd
    for field in ("folder", "resource_pool", "host"):
        with pytest.raises(NotFoundError, match="no "):
            resolve_place(session, original, PlaceRequest(**{field: name}), "new")
    with pytest.raises(NotFoundError, match="no datastore"):
        resolve_place(session, original, PlaceRequest(datastore=name), "new")


@pytest.fixture(scope="module")
def another(lab, odd):
    """A second datacenter, with a host, a datastore and a network of the same names as in the first one."""
    world = lab.site.world
    with world.transaction():
        here = {kind: world.all(kind) for kind in (vim.HostSystem, vim.Datastore, vim.Network)}
        for kind in (vim.Datastore, vim.Network):
            for ref in here[kind]:
                limit_hosts(world, ref, here[vim.HostSystem])
        center = vim.Datacenter("datacenter-90")
        tops = {kind: vim.Folder(f"group-{kind}90") for kind in ("vm", "host", "datastore", "network")}
        root = world.all(vim.Datacenter)[0]
        root = world.get(root, "parent")
        world.add(center, name="DR", parent=root, **{f"{kind}Folder": ref for kind, ref in tops.items()})
        adopt(world, root, center)
        for kind, ref in tops.items():
            world.add(ref, name=kind, parent=center, childType=[vim.Folder, KINDS[kind]], childEntity=[])
        cluster, pool, host = (
            vim.ClusterComputeResource("domain-c90"), vim.ResourcePool("resgroup-90"), vim.HostSystem("host-90"),
        )  # fmt: skip
        store, net = vim.Datastore("datastore-90"), vim.Network("network-90")
        for ref, parent, values in (
            (cluster, tops["host"], {"name": "Cluster1", "resourcePool": pool}),
            (pool, cluster, {"name": "Resources", "owner": cluster}),
            (host, cluster, {"name": "esx01.localhost"}),
            (store, tops["datastore"], {"name": "datastore1"}),
            (net, tops["network"], {"name": "VM Network"}),
        ):
            world.add(ref, parent=parent, **values)
            add_companions(lab.site, ref)
            if parent in tops.values():
                adopt(world, parent, ref)
        for ref in (store, net):
            limit_hosts(world, ref, [host])


KINDS = {"vm": vim.VirtualMachine, "host": vim.ComputeResource, "datastore": vim.Datastore, "network": vim.Network}


def test_what_a_list_shows_is_what_a_restore_takes(session, odd, another):
    original, xml = odd
    folders = {one.datacenter: one.choose for one in choices.list_folders(session)}

    def placed(where, **request):
        return resolve_place(session, original, PlaceRequest(**{"folder": folders[where], **request}), "new")

    assert set(folders) == {"Lab", "DR"}
    # Each plain name and path is tried above; here are the others, and the names that both datacenters have.
    for one in choices.list_folders(session):
        if one.choose == one.id or one.datacenter == "DR":
            assert placed("Lab", folder=one.choose).folder == one.id
    for one in choices.list_pools(session):
        if one.choose == one.id or one.root:
            assert placed(one.datacenter, resource_pool=one.choose).pool == one.id
    for one in choices.list_hosts(session):
        if one.choose != one.name:
            assert placed(one.datacenter, host=one.choose).host == one.id
    stores = choices.list_datastores(session)
    for one in (store for store in stores if store.choose != store.name):
        place = placed(one.datacenter, datastore=one.choose, resource_pool=f"/{one.datacenter}/host/Cluster1/Resources")
        assert place.request.datastore == one.name
        assert create.plan_vm(session, xml, place, SpecOptions(name="new")).datastore == encode_name(one.name)
    assert {one.choose for one in stores if one.name == "datastore1"} == {
        "/Lab/datastore/datastore1", "/DR/datastore/datastore1",
    }  # fmt: skip
    for one in choices.list_networks(session):
        networks = {"VM Network": one.choose}
        place = placed(one.datacenter, networks=networks, datastore=f"/{one.datacenter}/datastore/datastore1")
        assert create.plan_vm(session, xml, place, SpecOptions(name="new")).network_ids == (one.id,)


def test_lists_tell_what_a_choice_needs(session, odd, another):
    store = next(one for one in choices.list_datastores(session) if one.id == "datastore-21")
    assert (store.accessible, store.maintenance, store.datacenter) == (True, None, "Lab")
    assert 0 < (store.free or 0) <= (store.capacity or 0)
    assert {"esx01.localhost", "esx02.localhost"} <= set(store.hosts)
    root, *_ = (one for one in choices.list_pools(session) if one.id == "resgroup-8")
    assert (root.of, root.root, root.choose) == ("Cluster1", True, "/Lab/host/Cluster1/Resources")
    host = next(one for one in choices.list_hosts(session) if one.id == "host-11")
    assert (host.cluster, host.state, host.choose) == ("Cluster1", "connected", "/Lab/host/Cluster1/esx01.localhost")
    assert (host.version, host.build) != (None, None)
    network = next(one for one in choices.list_networks(session) if one.id == "network-90")
    assert (network.choose, network.kind, network.hosts) == (
        "/DR/network/VM Network", "standard network", ("esx01.localhost",),
    )  # fmt: skip


def test_a_datastore_of_another_datacenter_is_refused(session, odd, another):
    original, _ = odd

    with pytest.raises(NotFoundError, match=r"no datastore '/DR/datastore/datastore1' in /Lab \(.* exists, but not"):
        resolve_place(
            session, original, PlaceRequest(folder="/Lab/vm/Test", datastore="/DR/datastore/datastore1"), "new"
        )


def test_a_list_takes_as_many_calls_for_many_objects_as_for_few(session, lab):
    def calls(list_all) -> int:
        before = lab.site.faults.calls.total()
        list_all(session)
        return lab.site.faults.calls.total() - before

    lists = (
        choices.list_folders, choices.list_pools, choices.list_datastores, choices.list_networks, choices.list_hosts,
    )  # fmt: skip
    few = [calls(list_all) for list_all in lists]
    test, world = vim.Folder("group-v42"), lab.site.world
    with world.transaction():
        for number in range(300):
            world.add(folder := vim.Folder(f"group-v9{number}"), name=f"more{number}", parent=test, childType=[])
            adopt(world, test, folder)

    assert [calls(list_all) for list_all in lists] == few
    assert max(few) <= 6
