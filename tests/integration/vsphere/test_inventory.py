"""Finding VMs by everything people call them, and describing them."""

from __future__ import annotations

import pytest

from vmkeep.errors import AmbiguousError, NotFoundError, PermissionDeniedError
from vmkeep.model.disk import SkipReason
from vmkeep.vsphere import inventory, privileges
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.configspec import parse_config
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.paths import inventory_path_of
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import open_session


def test_a_vm_is_found_by_every_name_it_has(session):
    vm = inventory.find_vm(session, "web01")

    for selector in (
        "name:web01",
        f"moref:{vm.moref}",
        f"uuid:{vm.instance_uuid}",
        f"uuid:{vm.bios_uuid.upper()}",
        f"ipaddr:{vm.ip_address}",
        f"name:{inventory.describe_vm(session, vm.moref).identity.inventory_path}",
    ):
        assert inventory.find_vm(session, selector) == vm


def test_a_vm_is_found_by_its_dns_name(session):
    assert inventory.find_vm(session, "ipaddr:web01.lab.example").name == "web01"


def test_names_with_slashes_spaces_and_other_alphabets_are_found_as_typed(session):
    vm = inventory.find_vm(session, "dätä web/01 ☃")

    assert vm.name == "dätä web/01 ☃"
    with pytest.raises(NotFoundError, match="did you mean 'dätä web/01 ☃'"):  # another name, which no VM has
        inventory.find_vm(session, "name:dätä web%2f01 ☃")
    described = inventory.describe_vm(session, vm.moref)
    assert described.identity.name == "dätä web/01 ☃"
    assert inventory.find_vm(session, f"name:{described.identity.inventory_path}") == vm


def test_an_unknown_name_is_answered_with_near_ones(session):
    with pytest.raises(NotFoundError, match="did you mean 'web01'"):
        inventory.find_vm(session, "wbe01")


@pytest.mark.parametrize(
    "selector",
    ["moref:vm-999999", "uuid:00000000-0000-0000-0000-000000000000", "ipaddr:192.0.2.77", "moref:", "name:/x/y"],
)
def test_what_does_not_exist_is_said(session, selector):
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, selector)


@pytest.mark.parametrize("selector", ["moref:group-d1", "moref:domain-c7", "moref:vm-1001'", "moref: vm-1001"])
def test_an_id_of_anything_but_a_vm_is_no_vm(session, selector):
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, selector)


def test_two_vms_of_one_name_are_listed_with_paths_and_ids(session):
    with pytest.raises(AmbiguousError) as caught:
        inventory.find_vm(session, "twin")

    morefs = [record.moref for record in inventory.list_vms(session) if record.name == "twin"]
    assert len(morefs) == 2
    assert all(f"moref:{moref}" in str(caught.value) for moref in morefs)
    assert str(caught.value).count("/vm/") == 2


def test_the_list_is_whole_when_it_takes_many_pages(session, monkeypatch):
    whole = inventory.list_vms(session)
    monkeypatch.setattr("vmkeep.vsphere.properties.PAGE", 3)

    assert inventory.list_vms(session) == whole
    assert len(whole) > 6


def test_a_vm_is_described_with_every_disk_and_why_some_are_skipped(session):
    vm = inventory.describe_vm(session, inventory.find_vm(session, "app01").moref)

    assert [disk.address for disk in vm.disks] == ["scsi0:0", "scsi0:1", "scsi1:0", "sata0:0"]
    assert [disk.skip for disk in vm.disks] == [None, None, SkipReason.PHYSICAL_RDM, None]
    assert vm.disks[2].lun_uuid
    assert (vm.power, vm.running, vm.tools_running, vm.template) == (PowerState.ON, True, True, False)
    assert vm.vmx == "[datastore1] app01/app01.vmx"
    assert vm.identity.key == vm.identity.instance_uuid
    assert vm.identity.vcenter == session.instance_uuid
    assert vm.host
    assert "datastore1" in vm.datastores


def test_a_template_is_known_as_one(session):
    template = inventory.find_vm(session, "debian-template")

    assert template.template
    assert inventory.describe_vm(session, template.moref).template


def test_the_saved_configuration_reads_back_as_it_was(session):
    moref = inventory.find_vm(session, "app01").moref

    config = parse_config(inventory.config_xml(session, moref))

    assert config.name == "app01"
    assert [device.key for device in config.hardware.device if device.key in (2000, 2001, 2016, 16000)]


def test_a_user_without_a_privilege_is_told_which(lab, reach):
    with open_session(reach(lab, lab.port, user="readonly@vsphere.local")) as session:
        moref = inventory.find_vm(session, "web01").moref
        names = ("System.View", "VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.RemoveSnapshot")

        assert privileges.missing_privileges(session, moref, names) == names[1:]
        with pytest.raises(
            PermissionDeniedError, match=r"lacks VirtualMachine\.State\.CreateSnapshot, .*RemoveSnapshot on web01 \(vm-"
        ):
            privileges.require(session, [(moref, names)])


def test_a_property_that_may_not_be_read_is_an_error_with_the_privilege(lab, reach, session):
    """The user has a grant on one VM alone: what lies above it is seen, and not read."""
    user, manager = "only-one@vsphere.local", session.content.authorizationManager
    vm = session.vm(inventory.find_vm(session, "web01").moref)
    granted = vim.AuthorizationManager.Permission(principal=user, group=False, roleId=-2, propagate=True)
    manager.SetEntityPermissions(vm, [granted])
    with open_session(reach(lab, lab.port, user=user)) as reader:
        assert [record.name for record in inventory.list_vms(reader)] == ["web01"]
        described = inventory.describe_vm(reader, moref_of(vm))
        assert described.identity.inventory_path == "/Lab/vm/Production/web01"
        with pytest.raises(PermissionDeniedError, match=r"lacks System\.Read on group-"), speaking("look"):
            read(reader, reader.managed(vim.Folder, moref_of(vm.parent)), "name", "overallStatus")


def test_a_vm_is_found_by_the_path_that_vsphere_shows_and_by_the_whole_path(session):
    found = [inventory.find_vm(session, path) for path in ("/Lab/vm/Production/web01", "/Lab/Production/web01")]
    assert [vm.name for vm in found] == ["web01", "web01"]
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, "/Production/web01")


def test_an_object_that_the_user_may_not_see_has_no_path_and_not_a_short_one(lab, reach, session):
    user, manager = "only-the-other@vsphere.local", session.content.authorizationManager
    hidden, seen = (inventory.find_vm(session, name).moref for name in ("web01", "app01"))
    granted = vim.AuthorizationManager.Permission(principal=user, group=False, roleId=-2, propagate=True)
    manager.SetEntityPermissions(session.vm(seen), [granted])
    with open_session(reach(lab, lab.port, user=user)) as reader:
        assert inventory_path_of(reader, reader.vm(seen)).path == "/Lab/vm/Production/app01"
        with pytest.raises(PermissionDeniedError, match=rf"lacks System\.View on {hidden}"), speaking("look"):
            inventory_path_of(reader, reader.vm(hidden))


def test_the_backup_user_has_what_a_backup_needs(lab, reach):
    with open_session(reach(lab, lab.port, user="backup@vsphere.local")) as session:
        moref = inventory.find_vm(session, "web01").moref

        assert privileges.missing_privileges(session, moref, ("VirtualMachine.State.CreateSnapshot",)) == ()
