"""Ids that mean something at one server only: whose they are is told by the server, and by the switch."""

from __future__ import annotations

import pytest

from vmkeep.errors import NotFoundError
from vmkeep.vsphere import inventory
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.cards import UNKNOWN, card_networks
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.server import server_uuid


def test_every_server_says_which_one_it_is_an_esxi_host_by_its_hardware(session):
    expected = session.instance_uuid
    if not session.is_vcenter:
        ((_, values),) = read_all(session, vim.HostSystem, "summary.hardware.uuid")
        expected = values["summary.hardware.uuid"]

    assert server_uuid(session) == expected
    assert expected
    vm = inventory.list_vms(session)[0]
    assert inventory.describe_vm(session, vm.moref).identity.vcenter == expected
    assert inventory.find_originals(session, vm.instance_uuid) == (vm,)


def test_a_port_group_is_known_by_its_id_on_its_own_switch_and_on_no_other(session):
    if not session.is_vcenter:
        pytest.skip("an ESXi host has no distributed switch")
    host = next(host for host, _ in read_all(session, vim.HostSystem, "name"))
    group = next(
        network
        for network in read(session, host, "network")["network"]
        if isinstance(network, vim.dvs.DistributedVirtualPortgroup)
    )
    switch = read(session, group, "config.distributedVirtualSwitch")["config.distributedVirtualSwitch"]
    uuid = read(session, switch, "uuid")["uuid"]

    def network_of(switch_uuid, *, same_vcenter=True):
        port = vim.dvs.PortConnection(portgroupKey=moref_of(group), switchUuid=switch_uuid)
        backing = vim.vm.device.VirtualEthernetCard.DistributedVirtualPortBackingInfo(port=port)
        card = vim.vm.device.VirtualVmxnet3(key=4000, backing=backing)
        return card_networks(session, host, [card], {}, origin=UNKNOWN, same_vcenter=same_vcenter)[4000].network

    assert network_of(uuid).backing().port.portgroupKey == moref_of(group)
    with pytest.raises(NotFoundError, match=moref_of(group)):
        network_of("50 11 22 33")
    with pytest.raises(NotFoundError, match=moref_of(group)):
        network_of(uuid, same_vcenter=False)
