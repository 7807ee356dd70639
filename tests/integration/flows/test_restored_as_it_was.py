"""A restored VM is what it was: on or off, template, encrypted; and its guest can tell that it went back in time."""

from __future__ import annotations

import uuid

import pytest
from click.testing import CliRunner

from tests.integration.flows import restoring
from tests.integration.flows.restoring import Restoring, back_up, hands, names, power, reconfigure, restore_whole
from tests.patience import HANG
from vmkeep.cli.main import cli
from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows import attach
from vmkeep.flows.attach_values import AttachRequest
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.model.point import Power
from vmkeep.repository import Lost, create_repository, open_repository
from vmkeep.vsphere import inventory, machines, vmfiles
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import wait_task

DEVICE = vim.vm.device


def load(site, ref):
    with open_repository(site.repository) as repository:
        return repository.load_point(ref)


def new_name():
    return f"new-{uuid.uuid4().hex[:6]}"


def config_of(lab, vm):
    with hands(lab) as session:
        return session.vm(inventory.find_vm(session, vm).moref).config


def generation(lab, vm):
    return {item.key: item.value for item in config_of(lab, vm).extraConfig if item.key.lower().startswith("vm.genid")}


def make_vm(lab, name, **fields):
    """Let somebody make a VM with one small disk; return its id."""
    backing = DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent", thinProvisioned=True)
    size = fields.pop("capacity_kb", 1024)
    spec = DEVICE.VirtualDeviceSpec
    encrypted = spec.BackingSpec(crypto=fields["crypto"]) if "crypto" in fields else None
    changes = [
        spec(operation="add", device=DEVICE.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")),
        spec(
            operation="add",
            fileOperation="create",
            backing=encrypted,
            device=DEVICE.VirtualDisk(key=-2, controllerKey=-1, unitNumber=0, capacityInKB=size, backing=backing),
        ),
        *[spec(operation="add", device=device) for device in fields.pop("devices", ())],
    ]
    config = vim.vm.ConfigSpec(
        name=name, guestId="otherLinux64Guest", numCPUs=1, memoryMB=64, deviceChange=changes,
        files=vim.vm.FileInfo(vmPathName="[datastore1]"), **fields,
    )  # fmt: skip
    with hands(lab) as session:
        index = session.content.searchIndex
        folder = index.FindByInventoryPath("Lab/vm/Test")
        pool = index.FindByInventoryPath("Lab/host/Cluster1/Resources")
        return wait_task(session, folder.CreateVM_Task(config, pool), what="test", timeout=HANG)._moId


@pytest.fixture(scope="module")
def points(lab, tmp_path_factory):
    """A repository with a point of each VM, each made once."""
    location = str(tmp_path_factory.mktemp("points") / "repository")
    create_repository(location)
    site, made = restoring.site_of(lab, location), {}

    def of(vm):
        if vm not in made:
            made[vm] = back_up(site, vm).point
        return site, made[vm]

    return of


@pytest.mark.parametrize(
    ("vm", "asked", "on"),
    [("old01", None, False), ("web01", None, True), ("old01", True, True), ("web01", False, False)],
)
def test_a_new_vm_is_on_if_the_saved_one_was_unless_it_is_said_otherwise(lab, points, vm, asked, on):
    site, point = points(vm)
    name = new_name()

    done = restore_whole(site, point, new_name=name, power_on=asked)

    assert load(site, point).power is (Power.ON if vm == "web01" else Power.OFF)
    assert done.powered_on is on
    assert lab.vm(name)["power"] == ("poweredOn" if on else "poweredOff")


def test_a_vm_that_was_off_stays_off_when_it_is_written_over(lab, points):
    site, point = points("old01")

    done = restore_whole(site, point, on_conflict=OnConflict.OVERWRITE)

    assert (done.powered_on, lab.vm("old01")["power"]) == (False, "poweredOff")


def test_a_vm_that_was_suspended_counts_as_off(lab, site):
    name = new_name()
    make_vm(lab, name)
    power(lab, name, on=True)
    with hands(lab) as session:
        machines.suspend(session, inventory.find_vm(session, name).moref)
    point = back_up(site, name).point

    plan = Restoring.new(site, point, new_name()).plan

    assert load(site, point).power is Power.SUSPENDED
    assert plan.power_on is False
    assert "the VM is left off at the end, because it did not run when it was backed up" in plan_lines(plan)


def test_the_command_line_shows_whether_a_vm_is_suspended_or_a_template(lab):
    name = new_name()
    make_vm(lab, name)
    power(lab, name, on=True)
    with hands(lab) as session:
        machines.suspend(session, inventory.find_vm(session, name).moref)

    assert {vm: shown_power(lab, vm) for vm in (name, "web01", "old01", "debian-template")} == {
        name: "suspended", "web01": "running", "old01": "off", "debian-template": "off, a template",
    }  # fmt: skip


def shown_power(lab, vm):
    where = ["--vcenter", f"{lab.host}:{lab.port}", "--user", lab.user, "--thumbprint", lab.thumbprint]
    said = CliRunner(env={"VMKEEP_PASSWORD": lab.password}).invoke(cli, ["vm", "show", vm, *where]).output
    (line,) = (line for line in said.splitlines() if line.startswith("  power "))
    return line.removeprefix("  power").strip()


def test_a_suspended_vm_is_not_written_over(lab, points):
    site, point = points("old01")
    name = new_name()
    make_vm(lab, name)
    power(lab, name, on=True)
    with hands(lab) as session:
        machines.suspend(session, inventory.find_vm(session, name).moref)

    with pytest.raises(ConflictError, match=r"is suspended.*resume it, shut it down"):
        Restoring.over(site, point, vm_selector=name)


def test_a_template_comes_back_as_a_template_and_never_starts(lab, points):
    site, point = points("debian-template")
    name = new_name()

    done = restore_whole(site, point, new_name=name)

    assert (config_of(lab, name).template, done.powered_on) == (True, False)
    assert not [item for item in config_of(lab, name).extraConfig if item.key.startswith("vmkeep.")]
    with pytest.raises(UsageError, match="of a template, which vSphere never switches on"):
        Restoring.new(site, point, new_name(), power_on=True)


@pytest.mark.parametrize(
    ("vm", "over"), [("web01", True), ("old01", True), ("old01", False), ("debian-template", False)]
)
def test_nothing_usual_is_warned_about(points, vm, over):
    site, point = points(vm)

    planned = Restoring.over(site, point) if over else Restoring.new(site, point, new_name())

    assert load(site, point).warnings == ()
    assert planned.plan.warnings == ()


def test_a_template_is_not_written_over(lab, points):
    site, point = points("debian-template")

    with pytest.raises(UnsupportedError, match=r"is a template, and no restore writes over a template.*--new-name"):
        Restoring.over(site, point)

    assert config_of(lab, "debian-template").template


def test_the_finish_of_a_template_can_be_done_again(lab, points):
    site, point = points("debian-template")
    run = Restoring.new(site, point, new_name()).prepared().written()

    assert run.finish() == run.finish()
    assert config_of(lab, f"moref:{run.target.vm}").template


def test_a_new_vm_has_a_generation_id_of_its_own(lab, points):
    site, point = points("web01")
    before, name = generation(lab, "web01"), new_name()

    restore_whole(site, point, new_name=name, power_on=True)

    assert set(generation(lab, name)) == {"vm.genid", "vm.genidX"}
    assert not set(generation(lab, name).values()) & set(before.values())


def test_a_vm_that_is_written_over_gets_a_new_generation_id(lab, points):
    site, point = points("web01")
    before = generation(lab, "web01")

    run = Restoring.over(site, point, power_on=True).prepared()
    assert generation(lab, "web01") == {}, "whoever starts the half-written VM starts another generation"
    run.written().finish()

    assert set(generation(lab, "web01")) == {"vm.genid", "vm.genidX"}
    assert not set(generation(lab, "web01").values()) & set(before.values())


def test_a_generation_id_that_came_back_during_the_writes_goes_before_the_handover(lab, points):
    site, point = points("web01")
    run = Restoring.new(site, point, new_name()).prepared().written()
    option = vim.option.OptionValue(key="VM.GenID", value="5")
    reconfigure(lab, f"moref:{run.target.vm}", vim.vm.ConfigSpec(extraConfig=[option]))

    run.finish()

    assert "5" not in generation(lab, f"moref:{run.target.vm}").values()


def test_an_ordinary_vm_is_restored_without_a_warning(points):
    site, point = points("old01")

    assert Restoring.new(site, point, new_name()).plan.warnings == ()


def test_a_restore_of_a_damaged_point_warns_with_what_is_lost(points):
    site, point = points("old01")
    with open_repository(site.repository) as repository:
        repository.marks.mark_damaged(point, [Lost(name="Hard disk 1")], reason="a check found damage")

    try:
        (told,) = Restoring.new(site, point, new_name()).plan.warnings
    finally:
        with open_repository(site.repository) as repository:
            repository.marks.clear_damaged(point)

    assert f"{point} is marked damaged (Hard disk 1): a check found damage" in told


def test_hardware_that_is_too_new_for_every_host_is_known_in_the_plan(lab, points):
    site, point = points("old01")
    before = names(lab)
    lab.settings(hardware_versions={"esx01.localhost": 19, "esx02.localhost": 17})
    try:
        with pytest.raises(UnsupportedError, match="hardware version vmx-21, and the host takes at most vmx-19"):
            Restoring.new(site, point, new_name())
    finally:
        lab.settings(hardware_versions={"esx01.localhost": 21, "esx02.localhost": 21})
    assert names(lab) == before


def test_the_nvram_comes_back(lab, site):
    name, again = new_name(), new_name()
    moref = make_vm(lab, name, firmware="efi")
    with hands(lab) as session:
        vmfiles.put_nvram(session, moref, b"MRVN" + bytes(range(256)))
    point = back_up(site, name).point

    plan = Restoring.new(site, point, again).prepared().written()
    plan.finish()

    with hands(lab) as session:
        assert vmfiles.fetch_nvram(session, plan.target.vm) == b"MRVN" + bytes(range(256))
    assert plan.plan.warnings == ()


@pytest.mark.parametrize("firmware", ["efi", "bios"])
def test_an_efi_vm_without_its_nvram_is_never_restored_silently(lab, site, firmware):
    name = new_name()
    make_vm(lab, name, firmware=firmware)
    (lab.folder / "datastores" / "datastore1" / name / f"{name}.nvram").unlink()
    point = back_up(site, name).point

    new, over = Restoring.new(site, point, new_name()).plan, Restoring.over(site, point).plan

    told = [warning for plan in (new, over) for warning in plan.warnings if "NVRAM" in warning]
    assert "vm.nvram" not in load(site, point).attachments
    assert len(told) == (2 if firmware == "efi" else 0)


@pytest.fixture
def key(lab):
    """A key that the vCenter has."""
    kinds = vim.encryption
    with hands(lab) as session:
        manager, provider = session.content.cryptoManager, kinds.KeyProviderId(id="kms")
        if provider.id not in [cluster.clusterId.id for cluster in manager.ListKmsClusters()]:
            manager.RegisterKmsCluster(provider)
        return manager.GenerateKey(provider).keyId


@pytest.fixture
def secure(lab, site, key):
    """A point of an encrypted VM with a TPM and a storage policy."""
    name = new_name()
    policy = lab.post("inventory/add", {"kind": "storage policy", "name": f"encrypted {name}"})["id"]
    make_vm(
        lab, name, firmware="efi", crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key),
        devices=[DEVICE.VirtualTPM(key=-9)], vmProfile=[vim.vm.DefinedProfileSpec(profileId=policy)],
    )  # fmt: skip
    return name, back_up(site, name).point


def test_an_encrypted_vm_keeps_key_bundle_tpm_and_nvram_together(lab, site, key, secure):
    _, point = secure
    (disk,) = load(site, point).disks
    assert (disk.key_id, disk.key_provider, disk.skip) == (key.keyId, "kms", None)

    done = restore_whole(site, point, new_name=new_name(), power_on=True)

    made = config_of(lab, f"moref:{done.vm.moref}")
    assert (made.keyId.keyId, done.powered_on) == (key.keyId, True)
    assert any(isinstance(device, DEVICE.VirtualTPM) for device in made.hardware.device)
    (disk,) = [device for device in made.hardware.device if isinstance(device, DEVICE.VirtualDisk)]
    assert disk.backing.keyId.keyId == key.keyId
    assert done.warnings == ()


def test_a_single_disk_of_an_encrypted_vm_goes_back_over_it_encrypted_and_to_another_vm_in_clear(
    lab, site, key, secure
):
    name, point = secure
    content = lab.hash(name, 2000)
    power(lab, name, on=True)
    lab.write(name, 2000, [{"offset": 0, "length": 4096, "seed": 5}])
    assert lab.hash(name, 2000) != content

    over = Restoring.over(site, point, disks=("scsi0:0",)).prepared().written()

    over.finish()
    now = config_of(lab, name)
    (disk,) = [device for device in now.hardware.device if isinstance(device, DEVICE.VirtualDisk)]
    assert (now.keyId.keyId, disk.backing.keyId.keyId, lab.hash(name, 2000)) == (key.keyId, key.keyId, content)
    request = AttachRequest(point=point, run=restoring.new_run(), disks=("scsi0:0",), vm_selector="web01")
    assert any("so that its content lies in clear" in told for told in attach.plan_attach(site, request).warnings)
    plain = new_name()
    make_vm(lab, plain)
    over = Restoring.over(site, point, vm_selector=plain, disks=("scsi0:0",))
    assert any("so that its content lies in clear" in told for told in over.plan.warnings)


def test_a_new_vm_without_the_old_key_starts_and_asks_for_the_recovery_key_and_a_locked_one_is_left_alone(
    lab, site, key, secure
):
    name, point = secure
    with hands(lab) as session:
        session.content.cryptoManager.RemoveKeys([key], True)
    with pytest.raises(
        ConflictError, match=f"VM {name} is encrypted and locked, .* key {key.keyId} of key provider kms"
    ):
        Restoring.over(site, point)

    done = restore_whole(site, point, new_name=new_name(), power_on=True)

    made = config_of(lab, f"moref:{done.vm.moref}")
    assert (made.keyId, done.powered_on) == (None, True)
    assert not any(isinstance(device, DEVICE.VirtualTPM) for device in made.hardware.device)
    told = "\n".join(done.warnings)
    assert "BitLocker" in told
    assert "are not encrypted" in told
    assert f"storage policy 'encrypted {name}' of the VM's own files is not applied" in told
    assert "the NVRAM is not put back" in told


def test_the_nvram_of_a_plain_vm_is_not_put_into_one_that_was_encrypted_since(lab, site, key):
    name, other = new_name(), new_name()
    make_vm(lab, name, firmware="efi")
    make_vm(lab, other, firmware="efi", crypto=vim.encryption.CryptoSpecEncrypt(cryptoKeyId=key))
    point = back_up(site, name).point

    done = restore_whole(site, point, vm_selector=other, on_conflict=OnConflict.OVERWRITE, power_on=True)

    assert done.powered_on
    assert any("the VM keeps the NVRAM that it has" in warning for warning in done.warnings)


def test_a_key_that_is_lost_after_the_plan_stops_the_restore_before_anything_is_made(lab, site, key, secure):
    _, point = secure
    run = Restoring.new(site, point, new_name())
    with hands(lab) as session:
        session.content.cryptoManager.RemoveKeys([key], True)
    before = names(lab)

    with pytest.raises(Exception, match="its key cannot be used any more"):
        run.prepared()

    assert names(lab) == before


def test_a_setting_that_somebody_spelt_otherwise_is_still_the_vms_own(lab, site):
    name, again = new_name(), new_name()
    make_vm(lab, name)
    option = vim.option.OptionValue
    own = {"VM.GENID": "1", "Vm.GenIdX": "2", "SCSI0.SASWWID": "3", "Ethernet0.Filter0.Name": "x", "my.own": "kept"}
    reconfigure(lab, name, vim.vm.ConfigSpec(extraConfig=[option(key=key, value=own[key]) for key in own]))

    done = restore_whole(site, back_up(site, name).point, new_name=again)

    found = {item.key.lower(): item.value for item in config_of(lab, again).extraConfig}
    assert found["my.own"] == "kept"
    assert not found.keys() & {"vm.genid", "vm.genidx", "ethernet0.filter0.name"}
    assert any("NSX" in warning for warning in done.warnings)


def test_custom_attributes_of_the_old_vm_that_have_a_value_come_back(lab, site):
    name = new_name()
    moref = make_vm(lab, name)
    with hands(lab) as session:
        manager = session.content.customFieldsManager
        fields = [manager.AddCustomFieldDef(f"{label} {name}", None, None, None).key for label in ("Owner", "Unset")]
        manager.SetField(session.vm(moref), fields[0], "Accounting = yes")

    plan = Restoring.new(site, back_up(site, name).point, new_name()).plan

    assert (plan.attributes, plan.warnings) == (((f"Owner {name}", "Accounting = yes"),), ())
