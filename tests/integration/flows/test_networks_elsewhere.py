"""A card goes onto the network that it was on: found by what tells it in its vCenter, and elsewhere by its name."""

from __future__ import annotations

import itertools
import uuid
from dataclasses import replace

import pytest

from tests.integration.flows.restoring import Restoring, back_up, devices, hands, reconfigure, site_of
from tests.labs import start_lab
from vmkeep.errors import AmbiguousError, NotFoundError
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.references import ATTACHMENT
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere.api import vim

CARD = "Network adapter 1"
KINDS = vim.vm.device.VirtualEthernetCard
numbers = itertools.count(1)


@pytest.fixture
def name():
    return f"new-{uuid.uuid4().hex[:6]}"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A second vCenter."""
    with start_lab(tmp_path_factory.mktemp("other") / "lab", data_disk_gib=0.0625) as started:
        yield started


@pytest.fixture
def elsewhere(lab, other, tmp_path, request):
    """A repository of this test's own, and the sites that join it with the one vCenter and the other."""
    location = str(tmp_path / "repository")
    create_repository(location)
    yield site_of(lab, location), site_of(other, location)
    backing = KINDS.NetworkBackingInfo(deviceName="VM Network")
    connect(lab, backing)


def add(lab, kind, name, **more) -> str:
    return str(lab.post("inventory/add", {"kind": kind, "name": name, **more})["moref"])


def add_group(lab, group: str, *, switch: str = "", moref: str | None = None, **more) -> tuple[str, str]:
    """Make a port group on a switch of its own; answer its key and its switch's uuid."""
    made = add(lab, "switch", switch or f"switch-{next(numbers)}", folder=f"dvs-{next(numbers)}", **more)
    key = add(lab, "port group", group, switch=made, folder=f"pg-{next(numbers)}", moref=moref)
    with hands(lab) as session:
        return key, session.managed(vim.dvs.VmwareDistributedVirtualSwitch, made).uuid


def port(key: str, switch: str):
    return KINDS.DistributedVirtualPortBackingInfo(port=vim.dvs.PortConnection(portgroupKey=key, switchUuid=switch))


def connect(lab, backing, vm: str = "web01") -> None:
    """Let somebody put a VM's card onto a network."""
    card = card_of(lab, vm)
    card.backing = backing
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    reconfigure(lab, vm, vim.vm.ConfigSpec(deviceChange=[change]))


def card_of(lab, vm: str):
    (card,) = (device for device in devices(lab, vm) if isinstance(device, KINDS))
    return card


def group_of(lab, vm: str) -> str:
    return str(card_of(lab, vm).backing.port.portgroupKey)


def test_in_its_vcenter_a_port_group_is_known_by_switch_and_key_whatever_it_is_named(lab, elsewhere, name):
    here, _ = elsewhere
    key, switch = add_group(lab, "vlan 7")
    add_group(lab, "vlan 7")
    connect(lab, port(key, switch))
    point = back_up(here, "web01").point

    done = Restoring.new(here, point, name).prepared()

    assert group_of(lab, name) == key
    done.clean_up()


def test_in_another_vcenter_the_same_key_of_the_same_switch_is_another_group(lab, other, elsewhere, name):
    """As where a switch was exported and imported with its identifiers."""
    here, there = elsewhere
    key, switch = add_group(lab, "vlan 8", moref="dvportgroup-808")
    add_group(other, "management", moref="dvportgroup-808", uuid=switch)
    right, _ = add_group(other, "vlan 8")
    connect(lab, port(key, switch))
    point = back_up(here, "web01").point

    done = Restoring.new(there, point, name).prepared()

    assert group_of(other, name) == right
    assert any(f"{CARD}: by its name" in line for line in done.plan.warnings)
    done.clean_up()


def test_where_no_network_has_the_saved_name_those_that_are_there_are_named(lab, other, elsewhere, name):
    here, there = elsewhere
    connect(lab, port(*add_group(lab, "only here")))
    point = back_up(here, "web01").point

    with pytest.raises(NotFoundError, match=r"no network 'only here'; it has .*Backup Network.*--network"):
        Restoring.new(there, point, name)

    planned = Restoring.new(there, point, name, networks=("only here=VM Network",))
    assert planned.plan.place.networks == ((CARD, "VM Network"),)


def test_a_point_of_an_older_program_names_no_group_and_can_be_mapped(lab, other, elsewhere, name, monkeypatch):
    here, there = elsewhere
    key, switch = add_group(lab, "unnamed")
    connect(lab, port(key, switch))
    with monkeypatch.context() as older:
        older.setattr("vmkeep.flows.vm_snapshot.kept_names", lambda *_: {})
        point = back_up(here, "web01").point
    with open_repository(here.repository) as repository:
        assert ATTACHMENT not in repository.load_point(point).attachments

    with pytest.raises(NotFoundError, match=f"no network '{key}'"):
        Restoring.new(there, point, name)
    planned = Restoring.new(there, point, name, networks=(f"{key}=Backup Network",))
    assert planned.plan.place.networks == ((CARD, "Backup Network"),)
    done = Restoring.new(here, point, name).prepared()
    assert group_of(lab, name) == key
    done.clean_up()


def test_of_two_groups_of_one_name_that_of_the_saved_switchs_name_is_taken(lab, other, elsewhere, name):
    here, there = elsewhere
    connect(lab, port(*add_group(lab, "vlan 9", switch="DSwitch 9")))
    add_group(other, "vlan 9", switch="another")
    right, _ = add_group(other, "vlan 9", switch="DSwitch 9")
    point = back_up(here, "web01").point

    done = Restoring.new(there, point, name).prepared()

    assert group_of(other, name) == right
    assert f"{CARD} is on vlan 9 (port group {right} of switch DSwitch 9)" in plan_lines(done.plan)
    done.clean_up()


def test_of_two_groups_of_one_name_none_is_guessed_and_one_can_be_named_by_its_id(lab, other, elsewhere, name):
    here, there = elsewhere
    connect(lab, port(*add_group(lab, "vlan 10")))
    groups = [add_group(other, "vlan 10")[0] for _ in range(2)]
    point = back_up(here, "web01").point

    with pytest.raises(AmbiguousError, match=rf"2 networks named 'vlan 10'.*{groups[0]}.*{groups[1]}.*--network"):
        Restoring.new(there, point, name)
    with pytest.raises(AmbiguousError, match="by its id"):
        Restoring.new(there, point, name, networks=(f"{CARD}=vlan 10",))

    done = Restoring.new(there, point, name, networks=(f"{CARD}={groups[1]}",)).prepared()
    assert group_of(other, name) == groups[1]
    done.clean_up()


def test_a_standard_network_is_not_taken_for_a_group_of_its_name_and_the_plan_says_so(lab, elsewhere, name):
    here, _ = elsewhere
    key, _ = add_group(lab, "VM Network")
    point = back_up(here, "web01").point

    done = Restoring.new(here, point, name).prepared()

    assert card_of(lab, name).backing.deviceName == "VM Network"
    assert any("not onto VM Network (port group of switch" in line and key in line for line in done.plan.warnings)
    done.clean_up()


def test_a_group_goes_to_the_standard_network_of_its_name_and_the_plan_says_so(lab, other, elsewhere, name):
    here, there = elsewhere
    connect(lab, port(*add_group(lab, "Backup Network")))
    point = back_up(here, "web01").point

    planned = Restoring.new(there, point, name)

    assert planned.plan.place.networks == ((CARD, "Backup Network"),)
    assert any("taken to be Backup Network (standard network" in line for line in planned.plan.warnings)


def test_an_opaque_network_is_known_by_its_id_and_elsewhere_by_its_name(lab, other, elsewhere, name):
    here, there = elsewhere
    add(lab, "opaque network", "nsx web", id="ls-web")
    add(other, "opaque network", "nsx web", id="ls-other")
    connect(lab, KINDS.OpaqueNetworkBackingInfo(opaqueNetworkId="ls-web", opaqueNetworkType="nsx.LogicalSwitch"))
    point = back_up(here, "web01").point

    near, far = Restoring.new(here, point, name), Restoring.new(there, point, name).prepared()

    assert near.plan.place.networks == ((CARD, "nsx web (opaque network ls-web)"),)
    assert card_of(other, name).backing.opaqueNetworkId == "ls-other"
    far.clean_up()


def test_a_name_that_may_not_be_read_is_a_warning_in_the_point_and_fails_no_backup(lab, elsewhere):
    here, _ = elsewhere
    key, switch = add_group(lab, "hidden")
    connect(lab, port(key, switch))
    with hands(lab) as session:
        group = session.managed(vim.dvs.DistributedVirtualPortgroup, key)
        nothing = vim.AuthorizationManager.Permission(
            principal="backup@vsphere.local", group=False, roleId=-5, propagate=False
        )
        session.content.authorizationManager.SetEntityPermissions(group, [nothing])
    limited = replace(here, vcenter=replace(here.vcenter, user="backup@vsphere.local"))

    sealed = back_up(limited, "web01")

    assert any(CARD in line and "may not be read" in line for line in sealed.warnings)
    with open_repository(here.repository) as repository:
        assert ATTACHMENT not in repository.load_point(sealed.point).attachments
