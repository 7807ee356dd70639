"""The engine works with govmomi's simulated vCenter and ESXi host, and says so where they lack something."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from vmkeep.errors import (
    AuthenticationError,
    CertificateError,
    ChangesUnknownError,
    ConflictError,
    NotFoundError,
    StaleError,
    UnsupportedError,
    UsageError,
)
from vmkeep.model.disk import ControllerKind
from vmkeep.model.point import VmIdentity
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere import (
    changes,
    claims,
    configspec,
    create,
    disturbances,
    freeluns,
    inventory,
    luns,
    machines,
    privileges,
    snapshots,
    vmfiles,
)
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.create import PlaceRequest
from vmkeep.vsphere.properties import read, read_all
from vmkeep.vsphere.rights import On, needed
from vmkeep.vsphere.session import open_session

pytestmark = pytest.mark.slow
RUN = "dag é/peer 1"


@pytest.fixture
def vm(vcsim):
    """The id of the VM that has a guest."""
    return vcsim.machines[vcsim.guest]["moref"]


@pytest.fixture
def saved(session, vm):
    """That VM's description and its configuration as it is stored in a restore point."""
    return inventory.describe_vm(session, vm), inventory.config_xml(session, vm)


@pytest.fixture
def make(session, saved):
    """Create a VM from the saved one; all that carry a mark are destroyed at the end."""
    runs = set()

    def create_one(name, run, **request):
        runs.add(run)
        place = create.resolve_place(session, saved[0].identity, PlaceRequest(**request), name)
        return create.create_vm(session, saved[1], place, SpecOptions(name=name, claim=VmClaim(run=run, made=True)))

    yield create_one
    for run in runs:
        machines.destroy_claimed(session, run)


def log_in(vcenter):
    with open_session(vcenter) as opened:
        return opened


def test_a_session_needs_the_right_certificate_and_the_right_password(vcsim):
    assert log_in(vcsim.vcenter)
    assert log_in(replace(vcsim.vcenter, thumbprint=vcsim.sha256))
    with pytest.raises(CertificateError, match=r"not the pinned one.*the server shows"):
        log_in(replace(vcsim.vcenter, thumbprint="00" * 20))
    with pytest.raises(CertificateError, match="not trusted"):
        log_in(replace(vcsim.vcenter, thumbprint=None))
    with pytest.raises(AuthenticationError):
        log_in(replace(vcsim.vcenter, password="wrong"))


def test_a_session_that_was_ended_by_another_is_opened_again(session, vcsim):
    with open_session(vcsim.vcenter) as other:
        other.content.sessionManager.TerminateSession([session.session_key])

    assert {record.name for record in inventory.list_vms(session)} == set(vcsim.machines)
    assert session.generation == 1


def test_the_server_is_known_for_what_it_is(session, vcsim):
    is_host = vcsim.guest.startswith("ha-host")

    assert session.is_vcenter is not is_host
    assert (session.instance_uuid is None) is is_host
    assert session.version == "6.5.0"
    assert session.user_name == vcsim.vcenter.user
    assert session.server_time().tzinfo is not None


def test_all_vms_are_listed(session, vcsim):
    listed = {record.name: record for record in inventory.list_vms(session)}

    assert set(listed) == set(vcsim.machines)
    for name, machine in vcsim.machines.items():
        assert (listed[name].moref, listed[name].instance_uuid) == (machine["moref"], machine["instance_uuid"])
        assert listed[name].bios_uuid == machine["bios_uuid"]
        assert listed[name].power_state is inventory.PowerState.ON
    assert listed[vcsim.guest].ip_address == vcsim.guest_ip


def test_a_vm_is_found_by_name_path_uuids_id_address_and_dns_name(session, vcsim, saved):
    machine = vcsim.machines[vcsim.guest]
    for selector in (
        vcsim.guest, f"name:{saved[0].identity.inventory_path}", f"uuid:{machine['instance_uuid']}",
        f"uuid:{machine['bios_uuid'].upper()}", f"moref:{machine['moref']}", f"ipaddr:{vcsim.guest_ip}",
        "ipaddr:guest.peer.test",
    ):  # fmt: skip
        assert inventory.find_vm(session, selector).moref == machine["moref"], selector


@pytest.mark.parametrize("selector", [
    "nobody", "/DC0/vm/nobody", "moref:vm-0", "ipaddr:198.51.100.1", "uuid:00000000-0000-0000-0000-000000000000",
])  # fmt: skip
def test_what_is_not_there_is_not_found(session, selector):
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, selector)


def test_a_vm_is_described(saved, vcsim):
    described, xml = saved

    assert described.identity.name == vcsim.guest
    assert described.identity.inventory_path.endswith(f"/vm/{vcsim.guest}")
    (disk,) = described.disks
    assert (disk.controller, disk.controller_type, disk.address) == (
        ControllerKind.SCSI, "ParaVirtualSCSIController", "scsi0:0",
    )  # fmt: skip
    assert (disk.capacity, disk.backing, disk.thin, disk.skip) == (1 << 20, "FlatVer2", True, None)
    assert disk.file_name == f"[LocalDS_0] {vcsim.guest}/disk1.vmdk"
    assert described.running
    assert not described.tracking_supported
    assert not described.tools_running
    assert described.datastores == ("LocalDS_0",)
    assert configspec.parse_config(xml).hardware.memoryMB == 32


def test_privileges_are_asked_for(session, vm):
    assert privileges.missing_privileges(session, vm, needed(Purpose.BACKUP)[On.VM]) == ()


def test_tracking_that_the_server_does_not_have_is_unsupported(session, vm):
    with pytest.raises(UnsupportedError, match="cannot track changed blocks"):
        changes.enable_tracking(session, vm)
    assert not changes.disable_tracking(session, vm)


def test_snapshots_are_taken_found_by_their_run_and_removed(session, vm):
    first = snapshots.create(session, vm, run=RUN, quiesce=True)
    second = snapshots.create(session, vm, run="another", quiesce=False)

    assert (first.run, second.run) == (RUN, "another")
    assert [known.moref for known in snapshots.list_all(session, vm)] == [first.moref, second.moref]
    assert [known.moref for known in snapshots.find_by_run(session, vm, RUN)] == [first.moref]
    assert {known.run for known in snapshots.list_ours(session, vm)} == {RUN, "another"}
    assert inventory.describe_vm(session, vm).has_snapshots
    assert abs((first.created_at - session.server_time()).total_seconds()) < 60

    snapshots.remove(session, vm, first.moref)
    snapshots.remove(session, vm, first.moref)
    assert [known.run for known in snapshots.list_all(session, vm)] == ["another"]
    snapshots.remove(session, vm, second.moref)
    assert snapshots.list_all(session, vm) == ()
    assert not inventory.describe_vm(session, vm).has_snapshots
    with pytest.raises(StaleError):
        snapshots.require(session, vm, second.moref)


def test_a_snapshot_without_change_ids_asks_for_a_full_read(session, vm):
    taken = snapshots.create(session, vm, run=RUN, quiesce=False)
    (held,) = inventory.held_disks(session, vm, taken.moref)

    assert held.change_id is None
    assert held.disk.capacity == 1 << 20
    with pytest.raises(ChangesUnknownError, match="not tracked"):
        changes.changed_extents(session, vm, taken.moref, held.key, held.disk.capacity, "52 aa bb/3")
    assert configspec.parse_config(inventory.config_xml(session, vm, taken.moref)).uuid
    snapshots.remove(session, vm, taken.moref)
    with pytest.raises(NotFoundError):
        inventory.held_disks(session, vm, taken.moref)
    with pytest.raises(StaleError):
        changes.changed_extents(session, vm, taken.moref, held.key, held.disk.capacity, "52 aa bb/3")


def test_power_is_switched_and_doing_it_twice_is_success(session, vm):
    assert [machines.power_off(session, vm), machines.power_off(session, vm)] == [True, False]
    assert [machines.power_on(session, vm), machines.power_on(session, vm)] == [True, False]
    assert machines.suspend(session, vm)
    assert machines.power_state(session, vm) is inventory.PowerState.SUSPENDED
    assert machines.power_on(session, vm)


def test_a_place_follows_the_original_or_what_is_asked_for(session, saved):
    identity = saved[0].identity
    place = create.resolve_place(session, identity, PlaceRequest(), "restored")

    assert place.folder_path == identity.inventory_path.rpartition("/")[0]
    assert place.host_name == saved[0].host
    assert place.datastores == ("LocalDS_0",)
    named = create.resolve_place(
        session, identity, PlaceRequest(folder=place.folder_path, host=place.host_name), "restored"
    )
    assert (named.folder, named.pool, named.host) == (place.folder, place.pool, place.host)
    for request in (PlaceRequest(folder="/no/folder"), PlaceRequest(host="no-host"), PlaceRequest(resource_pool="no")):
        with pytest.raises(NotFoundError):
            create.resolve_place(session, identity, request, "restored")


def test_a_vm_comes_back_from_its_saved_configuration(session, saved, make):
    original = saved[0]

    moref = make("restored é", RUN)

    new = inventory.describe_vm(session, moref)
    assert new.identity.name == "restored é"
    assert [(d.address, d.controller_type, d.capacity) for d in new.disks] == [
        (d.address, d.controller_type, d.capacity) for d in original.disks
    ]
    assert new.disks[0].file_name.startswith("[LocalDS_0] restored é/")
    assert (new.running, new.hardware) == (False, original.hardware)
    assert new.identity.instance_uuid != original.identity.instance_uuid
    old_config, config = (configspec.parse_config(text) for text in (saved[1], inventory.config_xml(session, moref)))
    assert config.hardware.memoryMB == old_config.hardware.memoryMB
    assert (config.guestId, config.hardware.numCPU) == (old_config.guestId, old_config.hardware.numCPU)
    kinds = [{type(device).__name__ for device in known.hardware.device} for known in (old_config, config)]
    assert kinds[0] == kinds[1]
    assert make("restored é", RUN) == moref, "a second try of the run takes up what the first one made"
    assert machines.power_on(session, moref)
    assert machines.power_off(session, moref)


def test_only_what_a_run_made_and_did_not_finish_is_destroyed(session, vcsim, make):
    mine, other, finished = make("mine", RUN), make("other", "another"), make("finished", RUN)
    assert claims.let_go(session, finished, RUN)
    assert not claims.let_go(session, other, RUN)

    assert claims.claim_on(session, finished) is None
    with pytest.raises(ConflictError):
        machines.destroy(session, finished, run=RUN)
    with pytest.raises(ConflictError):
        make("other", RUN)
    assert machines.destroy_claimed(session, RUN) == 1
    assert machines.destroy_claimed(session, RUN) == 0
    left = {record.moref for record in inventory.list_vms(session)}
    assert {other, finished} <= left
    assert mine not in left
    assert {machine["moref"] for machine in vcsim.machines.values()} <= left
    session.vm(finished).Destroy_Task()


def test_a_vms_files_are_fetched_and_put(session, vcsim, vm, make):
    assert vmfiles.fetch_vmx(session, vm) == f'displayName = "{vcsim.guest}"\n'.encode()
    new = make("with nvram é", RUN)
    vmfiles.put_nvram(session, new, bytes(range(256)))
    assert vmfiles.fetch_nvram(session, new) == bytes(range(256))


def test_a_host_without_luns_has_none(session, saved):
    host = create.resolve_place(session, saved[0].identity, PlaceRequest(), "any").host

    found = luns.list_luns(session, host)
    assert found == ()
    with pytest.raises(NotFoundError, match="free ones: none"):
        freeluns.free_lun(found, "naa.1", freeluns.LunUses(mapped={}, extents={}))


def test_two_datacenters_with_datastores_of_one_name_are_kept_apart(two_datacenters):
    with open_session(two_datacenters.vcenter) as session:
        far = inventory.describe_vm(session, two_datacenters.machines["DC1_H0_VM0"]["moref"])
        xml = inventory.config_xml(session, far.moref)
        place = create.resolve_place(session, far.identity, PlaceRequest(), "beside it")

        assert far.identity.inventory_path == "/DC1/vm/DC1_H0_VM0"
        assert (place.datacenter_path, place.folder_path, place.host_name) == ("DC1", "/DC1/vm", "DC1_H0")
        made = create.create_vm(session, xml, place, SpecOptions(name="beside it", claim=VmClaim(run=RUN, made=True)))
        assert inventory.find_vm(session, "/DC1/vm/beside it").moref == made
        assert vmfiles.fetch_vmx(session, far.moref) == b'displayName = "DC1_H0_VM0"\n'
        near = two_datacenters.machines["DC0_H0_VM0"]["moref"]
        assert vmfiles.fetch_vmx(session, near) == b'displayName = "DC0_H0_VM0"\n'
        nowhere = VmIdentity(name="gone", key="gone")
        with pytest.raises(UsageError, match="name the folder"):
            create.resolve_place(session, nowhere, PlaceRequest(), "anywhere")


def test_a_vm_in_a_vapp_is_found_by_the_path_that_is_shown_and_restored_beside_it(with_vapps):
    with open_session(with_vapps.vcenter) as session:
        vapps = {vm._moId: values["parentVApp"] for vm, values in read_all(session, vim.VirtualMachine, "parentVApp")}
        inside = [record for record in inventory.list_vms(session) if vapps[record.moref] is not None]
        assert inside
        for record in inside:
            vapp = read(session, vapps[record.moref], "name", "parent")
            identity = inventory.describe_vm(session, record.moref).identity
            assert record.not_protectable is None
            assert identity.inventory_path.endswith(f"/{vapp['name']}/{record.name}")
            assert inventory.find_vm(session, identity.inventory_path) == record

            place = create.resolve_place(session, identity, PlaceRequest(), "new")
            assert place.folder_path == identity.inventory_path.rsplit("/", 2)[0]
            assert place.pool == vapp["parent"]._moId


def test_starts_of_a_vm_are_found_in_the_events_or_the_server_is_said_to_keep_none(session, vm):
    began = session.server_time() - timedelta(hours=1)

    if session.is_vcenter:
        assert disturbances.find_disturbance(session, vm, since=began) is not None
    else:
        with pytest.raises(UnsupportedError, match="keeps no events"):
            disturbances.find_disturbance(session, vm, since=began)
