"""The host of a new VM: vSphere's choice where it makes one, else one in use that has all the VM needs."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from tests.patience import HANG
from vmkeep.errors import ConflictError, NotFoundError, UsageError
from vmkeep.vsphere import configspec, create, inventory, machines
from vmkeep.vsphere.api import serialize, vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.hosts import told_by_host
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.tasks import run_task
from vmlab.control import additions
from vmlab.managed.vcenter import add_companions

numbers = itertools.count(1)


@pytest.fixture
def saved(session):
    moref = inventory.find_vm(session, "web01").moref
    return inventory.describe_vm(session, moref), inventory.config_xml(session, moref)


@pytest.fixture
def name(session):
    """A name that is free; whatever is made under it is gone afterwards."""
    yield f"placed {next(numbers)}"
    machines.destroy_claimed(session, "r/host")


@pytest.fixture
def cluster(session):
    return session.content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")


@pytest.fixture
def without_drs(session, cluster):
    """A cluster that does not choose hosts by itself."""
    switch_drs(session, cluster, on=False)
    yield cluster
    switch_drs(session, cluster, on=True)


def switch_drs(session, cluster, *, on: bool) -> None:
    spec = vim.cluster.ConfigSpecEx(drsConfig=vim.cluster.DrsConfigInfo(enabled=on))
    run_task(
        session,
        lambda: cluster.ReconfigureComputeResource_Task(spec, True),
        what="test",
        timeout=HANG,
        look=lambda: None,
    )


@contextlib.contextmanager
def maintained(session, *hosts):
    for host in hosts:
        run_task(
            session, lambda host=host: host.EnterMaintenanceMode_Task(0), what="test", timeout=HANG, look=lambda: None
        )
    try:
        yield
    finally:
        for host in hosts:
            run_task(
                session,
                lambda host=host: host.ExitMaintenanceMode_Task(0),
                what="test",
                timeout=HANG,
                look=lambda: None,
            )


def options(name: str) -> SpecOptions:
    return SpecOptions(name=name, claim=VmClaim(run="r/host", made=True))


def planned(session, saved, name, **request):
    place = create.resolve_place(session, saved[0].identity, create.PlaceRequest(**request), name)
    place, built = create.choose_host(session, saved[1], place, options(name))
    return place, create.settle(place, built)


def made_on(session, saved, name, **request) -> str:
    place, settled = planned(session, saved, name, **request)
    vm = create.create_vm(session, saved[1], place, options(name), settled=settled)
    return session.vm(vm).runtime.host._moId


def test_in_a_cluster_with_drs_vsphere_chooses_the_host_when_the_vm_is_made(session, saved, name, cluster):
    place, settled = planned(session, saved, name)

    assert (settled.host, settled.host_name) == ("", "")
    with maintained(session, session.managed(vim.HostSystem, place.host)):
        again = create.reopen_place(session, settled, place.request, name, origin=place.origin)
        vm = create.create_vm(session, saved[1], again, options(name), settled=settled)
        assert session.vm(vm).runtime.host._moId != place.host


def test_a_host_that_is_named_is_the_one_though_the_cluster_uses_drs(session, saved, name, cluster):
    host = cluster.host[1]

    assert made_on(session, saved, name, host=host.name) == host._moId


def test_without_drs_it_is_the_originals_host(session, saved, name, without_drs):
    original = session.vm(saved[0].moref).runtime.host

    assert made_on(session, saved, name) == original._moId


def test_a_host_out_of_use_is_never_chosen(session, saved, name, without_drs):
    original = session.vm(saved[0].moref).runtime.host
    others = [host._moId for host in without_drs.host if host._moId != original._moId]

    with maintained(session, original):
        assert made_on(session, saved, name) in others
        with pytest.raises(ConflictError, match="in maintenance mode"):
            planned(session, saved, name, host=original.name)


def test_a_disconnected_host_is_never_chosen(session, saved, name, without_drs):
    host = without_drs.host[0]
    run_task(session, host.DisconnectHost_Task, what="test", timeout=HANG, look=lambda: None)
    try:
        assert made_on(session, saved, name) != host._moId
        with pytest.raises(ConflictError, match="disconnected"):
            planned(session, saved, name, host=host.name)
    finally:
        run_task(session, lambda: host.ReconnectHost_Task(None, None), what="test", timeout=HANG, look=lambda: None)


def test_where_no_host_is_in_use_each_is_named_with_its_state(session, saved, name, cluster):
    with maintained(session, *cluster.host), pytest.raises(ConflictError) as caught:
        planned(session, saved, name)

    for host in cluster.host:
        assert f"{host.name} is in maintenance mode" in str(caught.value)


def test_a_planned_host_that_went_out_of_use_gets_no_vm(session, saved, name, without_drs):
    place, settled = planned(session, saved, name)

    with (
        maintained(session, session.managed(vim.HostSystem, settled.host)),
        pytest.raises(ConflictError, match="in maintenance mode"),
    ):
        create.reopen_place(session, settled, place.request, name, origin=place.origin)


@pytest.mark.parametrize("drs", [True, False])
def test_a_host_is_chosen_that_has_the_datastores_and_networks(session, saved, name, cluster, lab, drs):
    switch_drs(session, cluster, on=drs)
    number = next(numbers)
    second = cluster.host[1]
    only = {"hosts": [second.name]}
    additions.add(lab.site, {"kind": "network", "name": f"net {number}", **only})
    additions.add(lab.site, {"kind": "datastore", "name": f"store {number}", **only})
    try:
        said = {"networks": {"VM Network": f"net {number}"}, "datastore": f"store {number}"}
        assert made_on(session, saved, name, **said) == second._moId
    finally:
        switch_drs(session, cluster, on=True)


def test_where_each_host_lacks_something_it_is_told_of_each(session, saved, name, cluster, lab):
    number = next(numbers)
    first, second = cluster.host[:2]
    additions.add(lab.site, {"kind": "network", "name": f"net {number}", "hosts": [first.name]})
    additions.add(lab.site, {"kind": "datastore", "name": f"store {number}", "hosts": [second.name]})

    with pytest.raises(NotFoundError) as caught:
        planned(session, saved, name, networks={"VM Network": f"net {number}"}, datastore=f"store {number}")

    assert f"on {first.name}: the host has no datastore 'store {number}'" in str(caught.value)
    assert f"on {second.name}: Network adapter 1: the host has no network 'net {number}'" in str(caught.value)


def test_of_a_large_cluster_no_more_is_told_than_can_be_read():
    alike = told_by_host({f"esx{number:02}": "it has no network 'x'" for number in range(64)})
    unlike = told_by_host({f"esx{number:02}": f"it has local-{number:02} alone" for number in range(64)})

    assert alike == "on esx00, esx01, esx02, esx03, esx04, and 59 more: it has no network 'x'"
    assert unlike.endswith("; on esx02: it has local-02 alone; and 61 more")


def test_a_host_of_another_cluster_than_the_pools_is_refused(session, saved, name, cluster, lab):
    world = lab.site.world
    folder = world.get(world.all(vim.Datacenter)[0], "hostFolder")
    other = world.add(world.new_ref(vim.ClusterComputeResource, "domain-c"), name="Cluster2", parent=folder)
    host = world.add(world.new_ref(vim.HostSystem, "host"), name="esx99.localhost", parent=other)
    add_companions(lab.site, other)
    add_companions(lab.site, host)
    try:
        world.update(folder, childEntity=[*world.get(folder, "childEntity"), other])
        with pytest.raises(UsageError, match=r"esx99\.localhost is not in Cluster1"):
            planned(session, saved, name, host="esx99.localhost", resource_pool="Cluster1")
    finally:
        world.update(folder, childEntity=[ref for ref in world.get(folder, "childEntity") if ref != other])
        world.remove(host)
        world.remove(other)


def with_its_disk_on(session, saved, store: str):
    """The saved VM, as if its disk had been on another datastore than its own files."""
    config = configspec.parse_config(saved[1])
    disk = next(device for device in config.hardware.device if device.key == 2000)
    disk.backing.fileName = f"[{store}] elsewhere/elsewhere.vmdk"
    return saved[0], serialize(config, session.api_version).decode()


@pytest.mark.parametrize("drs", [True, False])
def test_a_host_that_has_the_datastore_of_each_disk_is_preferred(session, saved, name, cluster, lab, drs):
    switch_drs(session, cluster, on=drs)
    number = next(numbers)
    original = session.vm(saved[0].moref).runtime.host
    other = next(host for host in cluster.host if host._moId != original._moId)
    additions.add(lab.site, {"kind": "datastore", "name": f"store {number}", "hosts": [other.name]})
    try:
        asked = with_its_disk_on(session, saved, f"store {number}")

        assert planned(session, asked, name)[1].disks == (("scsi0:0", f"store {number}"),)
        assert made_on(session, asked, name) == other._moId
    finally:
        switch_drs(session, cluster, on=True)


def test_a_disk_whose_datastore_no_host_has_goes_elsewhere_and_the_plan_says_so(session, saved, name):
    asked = with_its_disk_on(session, saved, "gone [old (1)]")
    place = create.resolve_place(session, asked[0].identity, create.PlaceRequest(), name)

    _, built = create.choose_host(session, asked[1], place, options(name))

    (line,) = built.moved
    assert line.startswith("Hard disk 1: goes to datastore datastore1, because host esx0")
    assert line.endswith("has no 'gone [old (1)]'")
    assert line in built.notes


@pytest.mark.parametrize("store", ["NAS [prod]", "ds (1)", "[x]", "a = b", "it's", "50% / full"])
def test_a_datastore_of_any_name_can_be_chosen_for_a_vm_and_for_one_disk(session, saved, name, lab, store):
    store = f"{store} {next(numbers)}"
    additions.add(lab.site, {"kind": "datastore", "name": store})

    for said in ({"datastore": store}, {"disk_datastores": {2000: store}}):
        place = create.resolve_place(session, saved[0].identity, create.PlaceRequest(**said), name)
        place, built = create.choose_host(session, saved[1], place, options(name))
        vm = create.create_vm(session, saved[1], place, options(name), settled=create.settle(place, built))
        assert [decode_name(each) for each in inventory.describe_vm(session, vm).datastores] == sorted(
            {store} if "datastore" in said else {store, "datastore1"}
        )
        machines.destroy_claimed(session, "r/host")


def test_a_saved_vm_on_a_datastore_with_brackets_goes_back_there(session, saved, name, lab):
    store = f"NAS [prod] {next(numbers)}"
    additions.add(lab.site, {"kind": "datastore", "name": store})
    asked = with_its_disk_on(session, saved, store)

    assert planned(session, asked, name)[1].disks == (("scsi0:0", store),)
