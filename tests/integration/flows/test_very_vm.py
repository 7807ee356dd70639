"""An increment continues a point of the very VM that it was taken of; anything else is read in full and says why."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.flows.restoring import Restoring, back_up, hold_still, restore_whole, site_of, stored, swept
from tests.labs import small_lab, start_lab
from tests.patience import HANG
from vmkeep.catalog import open_catalog
from vmkeep.errors import AmbiguousError, StaleError
from vmkeep.flows import backup
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.leftovers import Fate, find_run_snapshots
from vmkeep.flows.restore_request import OnConflict
from vmkeep.flows.sweep import Kind
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import changes, snapshots
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.session import open_session
from vmkeep.vsphere.tasks import run_task

DISK = 2000


class Estate:
    """One repository, and vCenters that back up into it."""

    def __init__(self, folder, *labs):
        self.folder = folder
        self.repository = str(folder / "repository")
        self.labs = labs
        create_repository(self.repository)

    def site(self, lab):
        """The site of one vCenter."""
        return site_of(lab, self.repository)

    def back_up(self, lab, vm):
        """Back a VM up; return its point, after comparing every byte of it."""
        sealed = back_up(self.site(lab), f"moref:{vm}")
        held = next(iter(stored(self.repository, sealed.point, self.folder).values()))
        assert held == lab.hash(vm, 0), f"{sealed.point} holds another VM's bytes"
        with open_repository(self.repository) as repository:
            return repository.load_point(sealed.point)

    def restore(self, lab, point, **options):
        """Restore a point at a vCenter; return the managed object id."""
        return restore_whole(self.site(lab), point, **options).vm.moref

    def call(self, lab, what, start):
        """Have a vCenter do something to a VM."""
        with open_session(self.site(lab).vcenter) as session:
            return run_task(session, lambda: start(session), what=what, timeout=HANG, look=lambda: None)


@pytest.fixture(scope="module")
def here(unused_lab, tmp_path_factory):
    with small_lab(unused_lab, tmp_path_factory.mktemp("here")) as started:
        yield started


@pytest.fixture(scope="module")
def there(tmp_path_factory):
    with start_lab(tmp_path_factory.mktemp("there") / "lab", data_disk_gib=0.0625) as started:
        yield started


@pytest.fixture
def estate(tmp_path, here, there):
    return Estate(tmp_path, here, there)


@pytest.fixture
def vm(estate, here):
    """A VM of the test's own, running, tracked, with one full restore point behind it."""
    made = copy(here, here, "web01", name=f"vm-{uuid.uuid4().hex[:6]}")
    write(here, made, 1)
    estate.back_up(here, made)
    write(here, made, 2)
    return made


def write(lab, vm, seed, offset=1 << 20):
    lab.write(vm, 0, [{"offset": offset, "length": 300 * 512, "seed": seed}])


def power(estate, lab, vm, *, on):
    method = "PowerOnVM_Task" if on else "PowerOffVM_Task"
    estate.call(lab, method, lambda session: getattr(session.vm(vm), method)(*((None,) if on else ())))


def copy(source, target, vm, **registered):
    """A storage-level copy: the files, registered elsewhere, every UUID kept."""
    folder = f"[datastore2] copy-{uuid.uuid4().hex[:6]}"
    return target.take_copy(source, vm, folder, folder_path="Lab/vm/Test", power_on=True, **registered)


def assert_full(point, *reason):
    assert point.kind == "full"
    for word in reason:
        assert all(word in image.reason for image in point.images), [image.reason for image in point.images]


def test_the_very_vm_is_read_in_increments(estate, here, vm):
    assert estate.back_up(here, vm).kind == "incremental"


@pytest.mark.parametrize("collide", [False, True], ids=["another moref", "the same moref"])
def test_a_storage_level_copy_in_a_second_vcenter_is_another_vm(estate, here, there, vm, collide):
    """Same instance, BIOS, disk and tracking UUIDs, numbers of change ids that fit: only the vCenter differs."""
    last = estate.back_up(here, vm)
    if collide and there.state()["vms"] and vm in [found["moref"] for found in there.state()["vms"]]:
        estate.call(there, "destroy", lambda session: session.vm(vm).Destroy_Task())
    twin = copy(here, there, vm, **({"moref": vm} if collide else {}))
    write(here, vm, 3)
    estate.back_up(here, vm)
    write(here, vm, 4, offset=2 << 20)
    write(there, twin, 5, offset=3 << 20)

    first = estate.back_up(there, twin)
    assert_full(first, "vCenter", last.vm.vcenter)
    assert any("of another VM" in warning for warning in first.warnings)
    assert estate.back_up(here, vm).kind == "incremental", "the original goes on from its own last point"
    write(there, twin, 6, offset=4 << 20)
    assert estate.back_up(there, twin).kind == "incremental", "and so does the copy"
    estate.back_up(here, vm)


def test_a_copy_beside_the_original_in_one_vcenter_is_another_vm(estate, here, vm):
    twin = copy(here, here, vm, name=f"twin-{vm}")
    write(here, twin, 7, offset=2 << 20)
    estate.back_up(here, vm)

    assert_full(estate.back_up(here, twin), "managed object id", vm)
    write(here, vm, 8, offset=3 << 20)
    assert estate.back_up(here, vm).kind == "incremental"


def test_a_vm_that_moved_to_another_vcenter_is_read_in_full_once(estate, here, there, vm):
    power(estate, here, vm, on=False)
    twin = copy(here, there, vm)
    with open_session(estate.site(here).vcenter) as session:
        session.vm(vm).UnregisterVM()
    write(there, twin, 3)

    assert_full(estate.back_up(there, twin), "vCenter")
    write(there, twin, 4)
    assert estate.back_up(there, twin).kind == "incremental"


def test_a_vm_that_was_registered_anew_is_read_in_full_once(estate, here, vm):
    power(estate, here, vm, on=False)
    vmx = here.vm(vm)["vmx"]
    with open_session(estate.site(here).vcenter) as session:
        session.vm(vm).UnregisterVM()
    again = here.post("vm/register", {"path": vmx, "power_on": True})["moref"]
    write(here, again, 3)

    assert_full(estate.back_up(here, again), "managed object id", vm, again)
    write(here, again, 4)
    assert estate.back_up(here, again).kind == "incremental"


def test_a_copy_that_was_restored_with_its_identity_is_another_vm(estate, here, there, vm):
    last = estate.back_up(here, vm)
    twin = estate.restore(there, last.ref, new_name="kept-identity", keep_identity=True)
    write(there, twin, 3)

    assert_full(estate.back_up(there, twin), "vCenter")
    write(here, vm, 4, offset=2 << 20)
    assert estate.back_up(here, vm).kind == "incremental"


def test_a_vm_that_went_back_to_an_old_snapshot_is_read_in_full(estate, here, vm):
    estate.call(here, "snapshot", lambda it: it.vm(vm).CreateSnapshot_Task("before the patch", "", False, False))
    write(here, vm, 3)
    last = estate.back_up(here, vm)
    assert last.kind == "incremental", "a person's snapshot is no reason to read everything"
    estate.call(here, "revert", lambda it: it.vm(vm).RevertToCurrentSnapshot_Task(None, True))
    power(estate, here, vm, on=True)
    write(here, vm, 4, offset=2 << 20)

    assert_full(estate.back_up(here, vm), "went back to a snapshot")
    estate.call(here, "remove snapshots", lambda it: it.vm(vm).RemoveAllSnapshots_Task(True))
    write(here, vm, 5, offset=3 << 20)
    assert estate.back_up(here, vm).kind == "incremental"


def test_a_disk_that_was_replaced_at_its_place_is_read_in_full(estate, here, vm):
    """By a copy of itself: same key, capacity, UUID and tracking; only the file is another one."""
    power(estate, here, vm, on=False)
    folder = here.files(here.vm(vm)["vmx"]).parent
    older = folder.with_name(folder.name + "-older")
    shutil.copytree(folder, older)
    power(estate, here, vm, on=True)
    write(here, vm, 3)
    last = estate.back_up(here, vm)
    power(estate, here, vm, on=False)
    path = here.vm(vm)["disks"][0]["path"]

    def exchange(session):
        device = next(
            device for device in session.vm(vm).config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk)
        )
        device.backing.fileName = path.replace(folder.name + "/", older.name + "/", 1)
        edit = vim.vm.device.VirtualDeviceSpec(operation="edit", device=device)
        return session.vm(vm).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[edit]))

    estate.call(here, "exchange the disk", exchange)
    power(estate, here, vm, on=True)
    write(here, vm, 4, offset=2 << 20)
    for _ in range(3):  # the copy's change ids pass the last backup's number
        with open_session(estate.site(here).vcenter) as session:
            made = snapshots.create(session, vm, run="by-hand", quiesce=False, memory=False).moref
            snapshots.remove(session, vm, made)

    point = estate.back_up(here, vm)
    assert point.images[0].disk.uuid == last.images[0].disk.uuid
    assert_full(point, "another file", older.name)


@pytest.mark.parametrize("times", [1, 2], ids=["off and on", "reset twice"])
def test_change_tracking_that_was_reset_means_a_full_read(estate, here, vm, times):
    for _ in range(times):
        for wanted in (False, True):
            with open_session(estate.site(here).vcenter) as session:
                changes.set_tracking(session, vm, enabled=wanted)
                made = snapshots.create(session, vm, run="by-hand", quiesce=False, memory=False).moref
                snapshots.remove(session, vm, made)
        write(here, vm, 3 + times)

    assert_full(estate.back_up(here, vm), "was reset")


def test_a_point_of_an_older_vmkeep_which_knew_less_of_a_disk_is_not_continued(estate, here, vm):
    last = estate.back_up(here, vm)
    images = tuple(replace(image, disk=replace(image.disk, chain=())) for image in last.images)
    with open_repository(estate.repository) as repository:
        repository.begin_run("older")
        repository.seal(
            replace(last, id="ff" * 8, run="older", taken_at=last.taken_at + timedelta(microseconds=1), images=images)
        )
    write(here, vm, 3)

    assert_full(estate.back_up(here, vm), "older vmkeep")
    assert estate.back_up(here, vm).kind == "incremental"


def test_a_run_whose_connection_changes_its_vcenter_touches_nothing_there(estate, here, there):
    """Both vCenters have a VM of that id, and maybe a snapshot."""
    vm = here.vm("web01")["moref"]
    assert there.vm(vm)["moref"] == vm
    request = BackupRequest(vm_selector=f"moref:{vm}", run=f"test-{uuid.uuid4().hex[:8]}")
    pre = backup.preflight(estate.site(here), request)
    taken = backup.take_snapshot(estate.site(here), pre)
    try:
        (job,) = backup.plan_disks(estate.site(here), pre, taken)
        elsewhere = estate.site(there)
        for step in (
            lambda: backup.take_snapshot(elsewhere, pre),
            lambda: backup.plan_disks(elsewhere, pre, taken),
            lambda: backup.copy_disk(elsewhere, job, cursor=None, on_progress=lambda _: None),
            lambda: backup.remove_snapshot(elsewhere, vm, request.run, vcenter=pre.vm.vcenter),
        ):
            with pytest.raises(StaleError, match="another one"):
                step()
    finally:
        backup.remove_snapshot(estate.site(here), vm, request.run)
    assert there.vm(vm)["snapshots"] == []


def test_the_latest_point_of_a_name_that_two_vcenters_vms_share_has_to_be_chosen(estate, here, there, vm):
    twin = copy(here, there, vm)
    mine, other = estate.back_up(here, vm), estate.back_up(there, twin)
    before = here.hash(vm, 0)

    with pytest.raises(AmbiguousError) as caught:
        estate.restore(here, f"latest:{mine.vm.name}", on_conflict=OnConflict.OVERWRITE)

    for point in (mine, other):
        assert point.ref in str(caught.value)
        assert point.vm.in_full in str(caught.value)
    assert here.hash(vm, 0) == before
    assert estate.restore(here, mine.ref, on_conflict=OnConflict.OVERWRITE) == vm


def test_runs_at_two_vcenters_whose_ids_are_the_same_touch_nothing_of_each_other(estate, here, there):
    vm = here.vm("web01")["moref"]
    assert there.vm(vm)["name"] == "web01", "each vCenter has a VM of that id"
    at = {lab: estate.site(lab) for lab in (here, there)}
    pre, taken = hold_still(at[here], f"moref:{vm}")
    held = here.vm(vm)["snapshots"]

    other = estate.back_up(there, vm)
    assert find_run_snapshots(at[there]) == ()
    assert [(found.run, found.fate) for found in find_run_snapshots(at[here], vm)] == [(pre.request.run, Fate.IN_USE)]
    assert (here.vm(vm)["snapshots"], there.vm(vm)["snapshots"]) == (held, [])

    copies = []
    for job in backup.plan_disks(at[here], pre, taken):
        with backup.copy_disk(at[here], job, cursor=None, on_progress=lambda _: None) as running:
            copies.append(running.wait())
    mine = backup.seal(at[here], pre, taken, copies).point
    backup.remove_snapshot(at[here], vm, pre.request.run, vcenter=pre.vm.vcenter)
    assert other.vm.key != pre.vm.key
    assert other.vm.vcenter != pre.vm.vcenter
    for lab, ref, of in ((here, mine, pre.vm), (there, other.ref, other.vm)):
        assert next(iter(stored(estate.repository, ref, estate.folder).values())) == lab.hash(vm, 0)
        with open_repository(estate.repository) as repository:
            assert repository.find_point(f"latest:{of.key}").ref == ref
        with open_catalog(f"sqlite:///{estate.folder}/catalog.db") as catalog:
            with open_repository(estate.repository) as repository:
                catalog.refresh(repository)
            (entry,) = catalog.points(repository.id, vm=of.key)
            assert (entry.ref, entry.moref, entry.vcenter) == (ref, vm, of.vcenter)
    for text in ("web01", "/Lab/vm/Production/web01"):
        with pytest.raises(AmbiguousError, match="2 VMs"), open_repository(estate.repository) as repository:
            repository.find_point(f"latest:{text}")


def test_restores_at_two_vcenters_with_the_same_ids_touch_nothing_of_each_other(estate, here, there):
    point = estate.back_up(here, here.vm("web01")["moref"]).ref
    one, two = (Restoring.new(estate.site(lab), point, "again", power_on=False).prepared() for lab in (here, there))
    original = here.vm("web01")["moref"]
    over = Restoring.over(estate.site(here), point).prepared()

    for lab, runs in ((here, {one.request.run, over.request.run}), (there, {two.request.run})):
        assert {found.run for found in swept(estate.site(lab), Kind.RESTORE, dry_run=True)} == runs
    assert over.target.vm == original
    estate.back_up(there, original)  # the VM of that id which is being written over is the other vCenter's

    assert one.clean_up() == 1
    assert [found.run for found in swept(estate.site(there), Kind.RESTORE)] == [two.request.run]
    assert there.vm(two.target.vm)["name"] == "again"
    assert two.written().finish().vm.moref == two.target.vm
    assert over.written().finish().vm.moref == original
    assert there.hash(two.target.vm, 0) == here.hash(original, 0)
