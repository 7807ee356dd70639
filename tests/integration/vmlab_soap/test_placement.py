"""Where the lab lets a new VM go: hosts in use that have what it needs, and networks that a card can really name."""

import contextlib

import pytest
from pyVmomi import vim, vmodl

from tests.integration.vmlab_soap.specs import added, new_disk, vm_spec

Card = vim.vm.device.VirtualEthernetCard
SCSI = added(vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing"))


@pytest.fixture
def cluster(content):
    return content.searchIndex.FindByInventoryPath("Lab/host/Cluster1")


@pytest.fixture
def create(content, cluster, run):
    folder = content.searchIndex.FindByInventoryPath("Lab/vm")
    made = []

    def make(*changes, host=None, datastore="datastore1", **fields):
        spec = vm_spec(f"placed-{len(made)}", *changes, datastore=datastore, **fields)
        made.append(run(folder.CreateVM_Task(spec, cluster.resourcePool, host)))
        return made[-1]

    yield make
    for vm in made:
        run(vm.Destroy_Task())


@pytest.fixture
def drs(cluster, run):
    def switch(*, on):
        config = vim.cluster.DrsConfigInfo(enabled=on)
        run(cluster.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(drsConfig=config), True))

    yield switch
    switch(on=True)


@contextlib.contextmanager
def maintained(host, run):
    run(host.EnterMaintenanceMode_Task(0))
    try:
        yield
    finally:
        run(host.ExitMaintenanceMode_Task(0))


def card(backing):
    return added(vim.vm.device.VirtualVmxnet3(key=-9, backing=backing, addressType="generated"))


def group_backing(switch_uuid, key):
    port = vim.dvs.PortConnection(portgroupKey=key, switchUuid=switch_uuid)
    return Card.DistributedVirtualPortBackingInfo(port=port)


def test_a_cluster_without_drs_wants_a_host_to_be_named(create, cluster, drs):
    drs(on=False)
    assert not cluster.configurationEx.drsConfig.enabled

    with pytest.raises(vmodl.fault.InvalidArgument) as caught:
        create()
    assert caught.value.invalidProperty == "host"

    drs(on=True)
    assert create().runtime.host in cluster.host


def test_a_host_out_of_use_gets_no_vm_and_none_is_chosen(create, cluster, run):
    first, second = cluster.host[:2]
    with maintained(first, run):
        assert first.runtime.inMaintenanceMode
        assert first.vm == []
        with pytest.raises(vim.fault.InvalidState):
            create(host=first)
        assert create().runtime.host == second
    run(second.DisconnectHost_Task())
    try:
        assert second.runtime.connectionState == "disconnected"
        with pytest.raises(vmodl.fault.HostNotConnected):
            create(host=second)
        assert create().runtime.host == first
    finally:
        run(second.ReconnectHost_Task(None, None))


def test_a_host_of_another_cluster_is_refused(create):
    with pytest.raises(vmodl.MethodFault):
        create(host=vim.HostSystem("host-99"))


def test_a_host_needs_the_datastores_and_networks_of_the_vm(create, cluster, lab):
    first, second = cluster.host[:2]
    lab.post("inventory/add", {"kind": "datastore", "name": "only-second", "hosts": [second.name]})
    lab.post("inventory/add", {"kind": "network", "name": "Only Second", "hosts": [second.name]})
    assert "only-second" not in [store.name for store in first.datastore]
    assert [mount.key for mount in next(s for s in second.datastore if s.name == "only-second").host] == [second]

    with pytest.raises(vim.fault.InvalidDatastore):
        create(host=first, datastore="only-second")
    with pytest.raises(vim.fault.InvalidDatastore):
        create(SCSI, new_disk(-1, 0, file_name="[only-second]"), host=first)
    with pytest.raises(vim.fault.InvalidDeviceBacking):
        create(card(Card.NetworkBackingInfo(deviceName="Only Second")), host=first)

    with pytest.raises(vim.fault.InvalidDatastore):  # the default host need not be the one that has it
        create(datastore="only-second")
    assert create(host=second, datastore="only-second").runtime.host == second
    assert create(card(Card.NetworkBackingInfo(deviceName="Only Second")), host=second).runtime.host == second


def test_a_port_group_is_named_by_its_switchs_uuid_and_its_key_alone(create, cluster, lab, content):
    switch = lab.post("inventory/add", {"kind": "switch", "name": "DSwitch", "folder": "dvs"})["moref"]
    group = lab.post("inventory/add", {"kind": "port group", "name": "VM Network", "folder": "dvs", "switch": switch})
    found = next(n for n in cluster.host[0].network if n._moId == group["moref"])
    owner = found.config.distributedVirtualSwitch
    assert (found.name, found.key, owner.name) == ("VM Network", group["moref"], "DSwitch")

    for wrong in (
        group_backing("00 00", found.key),
        group_backing(owner.uuid, "dvportgroup-0"),
        Card.NetworkBackingInfo(deviceName="DSwitch"),
        Card.NetworkBackingInfo(deviceName=""),
        None,
    ):
        with pytest.raises(vim.fault.InvalidDeviceBacking):
            create(card(wrong))

    vm = create(card(group_backing(owner.uuid, found.key)))
    assert vm.network == [found]
    assert found.vm == [vm]


def test_an_uplink_port_group_takes_no_vm(create, lab, cluster):
    switch = lab.post("inventory/add", {"kind": "switch", "name": "DSwitch2", "folder": "dvs"})["moref"]
    body = {"kind": "port group", "name": "DSwitch2-DVUplinks", "folder": "dvs", "switch": switch, "uplink": True}
    key = lab.post("inventory/add", body)["moref"]
    found = next(n for n in cluster.host[0].network if n._moId == key)

    with pytest.raises(vim.fault.InvalidDeviceBacking):
        create(card(group_backing(found.config.distributedVirtualSwitch.uuid, key)))


def test_an_opaque_network_is_named_by_its_id(create, lab, cluster):
    moref = lab.post("inventory/add", {"kind": "opaque network", "name": "nsx-web", "id": "ls-1"})["moref"]
    opaque = Card.OpaqueNetworkBackingInfo(opaqueNetworkId="ls-1", opaqueNetworkType="nsx.LogicalSwitch")

    vm = create(card(opaque))

    assert [network._moId for network in vm.network] == [moref]
    assert vm.network[0].summary.opaqueNetworkId == "ls-1"


def test_a_card_is_changed_to_no_network_that_its_host_lacks(create, run):
    vm = create(card(Card.NetworkBackingInfo(deviceName="VM Network")))
    made = next(device for device in vm.config.hardware.device if isinstance(device, Card))
    made.backing = Card.NetworkBackingInfo(deviceName="nowhere")
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=made)

    with pytest.raises(vim.fault.InvalidDeviceBacking):
        run(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
