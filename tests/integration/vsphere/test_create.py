"""A saved VM comes back as a new one; and only what a run made, and did not finish, can be destroyed."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from vmkeep.errors import ConflictError, NotFoundError, PermissionDeniedError, TransientError, UsageError, VSphereError
from vmkeep.model.disk import SkipReason
from vmkeep.model.purpose import Purpose
from vmkeep.vsphere import changes, claims, configspec, create, freeluns, inventory, luns, machines, snapshots, vmfiles
from vmkeep.vsphere.api import serialize, vim
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.configspec import SpecOptions
from vmkeep.vsphere.rights import rights_of
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.specdisks import PLACEHOLDER_BYTES
from vmlab.managed import ds_paths
from vmlab.managed.site import BACKUP_ROLE, Injection
from vmlab.managed.vcenter import add_companions
from vmlab.managed.world import abandon, adopt

numbers = itertools.count(1)


@pytest.fixture
def saved(session):
    """The demo's VM with four disks: its description and its configuration."""
    moref = inventory.find_vm(session, "app01").moref
    return inventory.describe_vm(session, moref), inventory.config_xml(session, moref)


@pytest.fixture
def name(session):
    """A name that is free; whatever is made under it is gone afterwards."""
    free = f"restored {next(numbers)} / ü"
    yield free
    machines.destroy_claimed(session, "r/1")


def place(session, saved, name, **request):
    return create.resolve_place(session, saved[0].identity, create.PlaceRequest(**request), name)


def make(session, saved, name, *, options=None, **request):
    options = options or SpecOptions(name=name, claim=VmClaim(run="r/1", made=True))
    return create.create_vm(session, saved[1], place(session, saved, name, **request), options)


def test_the_new_vm_has_its_disks_at_their_places_and_a_placeholder_for_the_rdm(session, saved, name):
    original = saved[0]

    new = inventory.describe_vm(session, make(session, saved, name))

    assert new.identity.name == name
    assert [(disk.address, disk.controller_type) for disk in new.disks] == [
        (disk.address, disk.controller_type) for disk in original.disks
    ]
    for old, made in zip(original.disks, new.disks, strict=True):
        physical = old.skip is SkipReason.PHYSICAL_RDM
        assert made.capacity == (PLACEHOLDER_BYTES if physical else old.capacity)
        assert (made.skip, made.backing) == (None, "FlatVer2")
        assert made.uuid != old.uuid
    assert (new.running, new.tracked, new.has_snapshots) == (False, False, False)
    assert new.identity.bios_uuid != original.identity.bios_uuid
    assert new.identity.inventory_path.rpartition("/")[0] == original.identity.inventory_path.rpartition("/")[0]


def test_the_vm_of_the_design_document_is_created_from_its_saved_configuration(session, saved, name):
    xml = (Path(__file__).parent / "sample_config.xml").read_text()
    networks = {"Virtual Machine Network": "VM Network"}
    here = place(session, saved, name, datastore="datastore1", networks=networks)

    vm = create.create_vm(session, xml, here, SpecOptions(name=name, claim=VmClaim(run="r/1", made=True)))

    made = inventory.describe_vm(session, vm)
    assert [(disk.address, disk.controller_type, disk.capacity) for disk in made.disks] == [
        ("scsi0:0", "VirtualLsiLogicController", 512 << 20),
        ("scsi0:1", "VirtualLsiLogicController", 128 << 20),
    ]
    devices = configspec.parse_config(inventory.config_xml(session, vm)).hardware.device
    (cdrom,) = (device for device in devices if isinstance(device, vim.vm.device.VirtualCdrom))
    (card,) = (device for device in devices if isinstance(device, vim.vm.device.VirtualPCNet32))
    assert (cdrom.controllerKey, cdrom.unitNumber, cdrom.connectable.connected) == (200, 0, False)
    assert card.macAddress not in (None, "00:50:56:aa:bb:cc")
    assert card.backing.deviceName == "VM Network"


def test_the_new_vm_can_be_switched_on_backed_up_and_off(session, saved, name):
    vm = make(session, saved, name)
    claims.let_go(session, vm, "r/1")
    try:
        assert machines.power_on(session, vm)
        assert not machines.power_on(session, vm)
        made = snapshots.create(session, vm, run="r/2", quiesce=False)
        snapshots.remove(session, vm, made.moref)
        assert machines.suspend(session, vm)
        assert machines.power_state(session, vm) == "suspended"
        assert machines.power_on(session, vm)
        assert machines.power_off(session, vm)
        assert not machines.power_off(session, vm)
    finally:
        session.vm(vm).ReconfigVM_Task(
            vim.vm.ConfigSpec(extraConfig=[vim.option.OptionValue(key=claims.MADE_BY, value="r/1")])
        )


def test_a_physical_rdm_goes_onto_a_free_lun_by_the_names_of_the_config_target(session, saved, name):
    (rdm,) = (disk for disk in saved[0].disks if disk.skip is SkipReason.PHYSICAL_RDM)
    here = place(session, saved, name)
    free = next(lun for lun in luns.list_luns(session, here.host) if not lun.used_by)
    options = SpecOptions(
        name=name, claim=VmClaim(run="r/1", made=True), physical_rdm="lun", luns={rdm.key: free.device_name}
    )

    new = inventory.describe_vm(session, make(session, saved, name, options=options))

    (made,) = (disk for disk in new.disks if disk.address == rdm.address)
    assert (made.skip, made.compatibility_mode) == (SkipReason.PHYSICAL_RDM, "physicalMode")
    assert (made.lun_uuid, made.capacity) == (free.uuid, free.capacity)


def test_a_lun_in_use_or_unknown_is_refused_before_anything_is_made(session, saved, name):
    (rdm,) = (disk for disk in saved[0].disks if disk.skip is SkipReason.PHYSICAL_RDM)
    here = place(session, saved, name)

    with pytest.raises(NotFoundError, match="free ones: naa"):
        create.plan_vm(session, saved[1], here, SpecOptions(name=name, physical_rdm="lun", luns={rdm.key: "naa.0"}))
    uses = freeluns.uses_of_luns(session, here.host)
    with pytest.raises(ConflictError, match=rf"is mapped by VM .* \({saved[0].moref}\); choose a free one"):
        freeluns.free_lun(luns.list_luns(session, here.host), rdm.lun_uuid, uses)
    free = next(lun for lun in luns.list_luns(session, here.host) if not lun.used_by)
    twice = dict.fromkeys((rdm.key, 2000), free.device_name)
    with pytest.raises(UsageError, match="named for two disks"):
        create.plan_vm(session, saved[1], here, SpecOptions(name=name, physical_rdm="lun", luns=twice))
    with pytest.raises(UsageError, match="name the free LUN"):
        create.plan_vm(session, saved[1], here, SpecOptions(name=name, physical_rdm="lun"))


def test_an_rdm_can_be_left_out(session, saved, name):
    options = SpecOptions(name=name, claim=VmClaim(run="r/1", made=True), physical_rdm="omit")

    new = inventory.describe_vm(session, make(session, saved, name, options=options))

    assert len(new.disks) == len(saved[0].disks) - 1


def test_a_second_try_of_the_run_takes_up_what_the_first_made(session, saved, name, lab):
    lab.site.faults.add(Injection(method="CreateVM_Task", drop=True, after=True))
    with pytest.raises(TransientError):
        make(session, saved, name)
    while not place(session, saved, name).taken_by:
        pass

    vm = make(session, saved, name)

    assert [record.moref for record in inventory.list_vms(session) if record.name == name] == [vm]


def test_a_name_that_is_taken_is_refused(session, saved, name):
    with pytest.raises(ConflictError, match="a VM named app01 exists in /"):
        make(session, saved, "app01")


def test_only_the_unfinished_vms_of_exactly_this_run_are_destroyed(session, saved, name):
    vm = make(session, saved, name)
    other = inventory.find_vm(session, "old01").moref

    with pytest.raises(ConflictError, match="not destroyed"):
        machines.destroy(session, vm, run="r/2")
    with pytest.raises(ConflictError, match=r"mark: none"):
        machines.destroy(session, other, run="r/1")
    assert machines.destroy_claimed(session, "r/2") == 0
    assert machines.destroy_claimed(session, "r/1") == 1
    with pytest.raises(NotFoundError):
        inventory.find_vm(session, f"moref:{vm}")
    assert machines.destroy_claimed(session, "r/1") == 0


def test_an_unfinished_vm_whose_disk_is_still_being_written_is_destroyed_later(session, saved, name, lab):
    make(session, saved, name)
    lab.site.faults.add(Injection(method="Destroy_Task", fault="FileLocked"))

    with pytest.raises(TransientError, match="has to end first"):
        machines.destroy_claimed(session, "r/1")
    assert machines.destroy_claimed(session, "r/1") == 1


def test_an_unfinished_vm_that_vanishes_meanwhile_stops_no_clean_up(session, saved, name, monkeypatch):
    vm = make(session, saved, name)
    read_all = claims.read_all

    def read_all_before_it_went(*arguments):
        found = read_all(*arguments)
        machines.destroy(session, vm, run="r/1")
        return found

    monkeypatch.setattr(claims, "read_all", read_all_before_it_went)

    assert machines.destroy_claimed(session, "r/1") == 0
    monkeypatch.undo()


def test_a_finished_vm_is_not_destroyed(session, saved, name):
    vm = make(session, saved, name)
    claims.let_go(session, vm, "r/1")

    assert machines.destroy_claimed(session, "r/1") == 0
    with pytest.raises(ConflictError):
        machines.destroy(session, vm, run="r/1")
    session.vm(vm).Destroy_Task()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"datastore": "nowhere"}, "no datastore 'nowhere' in /Lab; there are datastore1"),
        ({"folder": "nowhere"}, "no VM folder 'nowhere'; there are Production"),
        ({"folder": "/nowhere/vm"}, "no VM folder '/nowhere/vm'"),
        ({"resource_pool": "nowhere"}, "no resource pool 'nowhere' in /Lab; there are"),
        ({"host": "nowhere"}, "no host 'nowhere' in /Lab; there are esx01"),
        ({"networks": {"VM Network": "nowhere"}}, "the host has no network 'nowhere'; it has"),
    ],
)
def test_a_place_that_does_not_exist_is_answered_with_those_that_do(session, saved, name, request_, words):
    with pytest.raises(NotFoundError) as caught:
        create.plan_vm(session, saved[1], place(session, saved, name, **request_), SpecOptions(name=name))

    assert words in str(caught.value)


def test_the_disks_go_to_the_datastore_that_was_asked_for(session, saved, name):
    new = inventory.describe_vm(session, make(session, saved, name, datastore="datastore2"))

    assert new.vmx.startswith("[datastore2] ")
    assert all(disk.file_name.startswith("[datastore2] ") for disk in new.disks)


def test_one_disk_can_go_elsewhere(session, saved, name):
    new = inventory.describe_vm(session, make(session, saved, name, disk_datastores={2001: "datastore2"}))

    stores = {disk.address: disk.file_name.partition("]")[0][1:] for disk in new.disks}
    assert stores["scsi0:1"] == "datastore2"
    assert stores["scsi0:0"] == "datastore1"


def test_a_user_who_may_not_create_vms_is_told_before_anything_is_made(lab, reach, saved, name):
    with open_session(reach(lab, lab.port, user="readonly@vsphere.local")) as limited:
        here = place(limited, saved, name)
        with pytest.raises(PermissionDeniedError, match=r"VirtualMachine\.Inventory\.Create"):
            create.plan_vm(limited, saved[1], here, SpecOptions(name=name))


def test_a_creation_that_fails_says_why_and_leaves_no_vm(session, saved, name, lab):
    lab.site.faults.add(Injection(method="CreateVM_Task", fault="NoDiskSpace", message="No room on datastore1"))

    with pytest.raises(VSphereError, match="No room on datastore1"):
        make(session, saved, name)

    assert place(session, saved, name).taken_by is None


def test_the_boot_order_names_the_new_disks(session, saved, name):
    config = configspec.parse_config(saved[1])
    kinds = vim.vm.BootOptions
    config.bootOptions = kinds(
        bootDelay=7,
        bootOrder=[kinds.BootableDiskDevice(deviceKey=16000), kinds.BootableDiskDevice(deviceKey=2001)],
    )
    xml = serialize(config, session.api_version)

    options = SpecOptions(name=name, claim=VmClaim(run="r/1", made=True))

    vm = create.create_vm(session, xml, place(session, saved, name), options)

    made = configspec.parse_config(inventory.config_xml(session, vm))
    keys = {disk.address: disk.key for disk in inventory.describe_vm(session, vm).disks}
    assert [item.deviceKey for item in made.bootOptions.bootOrder] == [keys["sata0:0"], keys["scsi0:1"]]


def test_the_small_files_come_and_go_with_the_vm(session, saved, name):
    vm = make(session, saved, name)

    assert b"displayName" in vmfiles.fetch_vmx(session, vm)
    vmfiles.put_nvram(session, vm, b"MRVN" + bytes(range(256)))
    assert vmfiles.fetch_nvram(session, vm) == b"MRVN" + bytes(range(256))


def test_a_missing_file_is_not_found(session, saved, name, lab):
    vm = make(session, saved, name)
    lab.site.store.path(str(vmfiles._where(session, vm)[1])).unlink(missing_ok=True)

    with pytest.raises(NotFoundError, match=r"\.nvram: there is no such file"):
        vmfiles.fetch_nvram(session, vm)


def test_files_are_fetched_with_a_new_session_when_the_old_one_expired(session, lab):
    vm = inventory.find_vm(session, "old01").moref
    where = vmfiles._where(session, vm)
    lab.site.sessions.close_all()

    assert b"displayName" in vmfiles._get(session, where[0], where[2])


def test_tracking_can_be_switched_on_a_new_vm(session, saved, name):
    vm = make(session, saved, name)

    assert changes.enable_tracking(session, vm)
    assert inventory.describe_vm(session, vm).tracked


@pytest.fixture
def store(lab):
    """Another datastore of all hosts, whose name holds brackets and blanks."""
    site, name = lab.site, f"NAS [prod {next(numbers)}] (1)"
    ref = vim.Datastore(f"datastore-7{next(numbers)}")
    folder = site.world.get(vim.Datacenter("datacenter-2"), "datastoreFolder")
    with site.world.transaction():
        site.world.add(ref, parent=folder, name=name)
        add_companions(site, ref)
        adopt(site.world, folder, ref)
    ds_paths.root_of(site, name).mkdir(parents=True)
    yield name
    with site.world.transaction():
        abandon(site.world, ref)
        site.world.remove(ref)


def test_a_vm_lives_on_a_datastore_whose_name_holds_brackets_and_blanks(session, saved, name, store):
    vm = make(session, saved, name, datastore=store)

    new = inventory.describe_vm(session, vm)
    assert all(disk.file_name.startswith(f"[{store}] ") for disk in new.disks)
    assert new.datastores == (store,)
    assert vmfiles.fetch_vmx(session, vm).count(b"displayName") == 1
    again = create.plan_vm(
        session, inventory.config_xml(session, vm), place(session, saved, name), SpecOptions(name=name)
    )
    assert (again.datastore, {where for _, where in again.disks}) == (store, {store})
    assert machines.destroy_claimed(session, "r/1") == 1


@pytest.mark.parametrize(
    "iso", ["[] /vmimages/tools-isoimages/windows.iso", "[nowhere] x.iso", "[datastore1] gone.iso"]
)
def test_an_iso_that_is_not_there_becomes_an_empty_drive_and_a_note(session, saved, name, iso):
    config = configspec.parse_config(saved[1])
    kinds = vim.vm.device.VirtualCdrom
    (drive,) = (device for device in config.hardware.device if isinstance(device, kinds))
    drive.backing = kinds.IsoBackingInfo(fileName=iso)

    built = create.plan_vm(
        session, serialize(config, session.api_version), place(session, saved, name), SpecOptions(name=name)
    )

    (made,) = (change.device for change in built.spec.deviceChange if isinstance(change.device, kinds))
    assert isinstance(made.backing, kinds.RemotePassthroughBackingInfo)
    assert any("empty, because its image" in note and iso in note for note in built.notes)


def test_a_saved_vm_with_an_overhead_limit_and_ninety_settings_is_created(session, saved, name):
    config = configspec.parse_config(saved[1])

    assert config.memoryAllocation.overheadLimit
    assert 50 <= len(config.extraConfig) <= 90
    made = configspec.parse_config(inventory.config_xml(session, make(session, saved, name)))
    assert made.memoryAllocation.overheadLimit is None
    old = {item.key.lower(): item.value for item in config.extraConfig}
    new = {item.key.lower(): item.value for item in made.extraConfig}
    for key in ("viv.moid", "migrate.hostlog", "sched.swap.derivedname", "scsi0.saswwid", "vmci0.id", "vm.genid"):
        assert old[key] != new.get(key), key


@pytest.fixture
def limited_role(session):
    """A user who has each right that every restore to a new VM needs, and no other."""
    user, root, manager = "backup@vsphere.local", session.content.rootFolder, session.content.authorizationManager
    names = {right.privilege for right in rights_of(Purpose.RESTORE_NEW) if right.when is None}
    role = manager.AddAuthorizationRole("restores", sorted(names))
    kind = vim.AuthorizationManager.Permission
    manager.SetEntityPermissions(root, [kind(principal=user, group=False, roleId=role, propagate=True)])
    yield user
    manager.SetEntityPermissions(root, [kind(principal=user, group=False, roleId=BACKUP_ROLE, propagate=True)])
    manager.RemoveAuthorizationRole(role, True)


def test_a_user_who_may_not_place_swap_files_gets_the_vm_and_a_note(lab, reach, session, saved, name, limited_role):
    config = configspec.parse_config(saved[1])
    config.swapPlacement = "hostLocal"
    xml = serialize(config, session.api_version)

    with open_session(reach(lab, lab.port, user=limited_role)) as limited:
        vm = create.create_vm(
            limited, xml, place(limited, saved, name), SpecOptions(name=name, claim=VmClaim(run="r/1", made=True))
        )
        notes = create.plan_vm(limited, xml, place(limited, saved, name), SpecOptions(name=name)).notes
    assert any("swap file" in note for note in notes)
    assert configspec.parse_config(inventory.config_xml(session, vm)).swapPlacement == "inherit"

    options = SpecOptions(name=f"{name} 2", claim=VmClaim(run="r/1", made=True))
    other = create.create_vm(session, xml, place(session, saved, options.name), options)
    assert configspec.parse_config(inventory.config_xml(session, other)).swapPlacement == "hostLocal"
