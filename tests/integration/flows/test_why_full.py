"""A disk that is read in full says why, as data that can be counted; a change that vSphere left out is found."""

from __future__ import annotations

import pytest

from tests.integration.flows import restoring
from tests.patience import HANG
from vmkeep.errors import VmKeepError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.complete_runs import run_backup
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_request import make_request
from vmkeep.model.fullreason import FullReason
from vmkeep.model.point import BackupKind
from vmkeep.model.transport import TransportMode
from vmkeep.repository import create_repository, open_repository
from vmkeep.vsphere import changes, inventory
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.tasks import run_task

VM = "web01"


@pytest.fixture(scope="module")
def follows(lab, tmp_path_factory):
    """A site whose VM has a point that an increment could continue; each test brings about the reason why none does."""
    location = str(tmp_path_factory.mktemp("why") / "repository")
    create_repository(location)
    return restoring.site_of(lab, location)


def images(site, sealed):
    with open_repository(site.repository) as repository:
        return repository.load_point(sealed.point).images


def call(lab, method, *arguments):
    """Let somebody else call a task of the VM, and wait for it."""
    with restoring.hands(lab) as session:
        managed = session.vm(inventory.find_vm(session, VM).moref)
        task = lambda: getattr(managed, method)(*arguments)  # noqa: E731
        return run_task(session, task, what="test", timeout=HANG, look=lambda: None)


def snapshot(lab):
    call(lab, "CreateSnapshot_Task", "somebody's", "", False, False)


def remove_all(lab):
    call(lab, "RemoveAllSnapshots_Task", True)


def grow(lab):
    disk = next(device for device in restoring.devices(lab, VM) if device.key == 2000)
    disk.capacityInKB += 1 << 10
    disk.capacityInBytes = disk.capacityInKB * 1024
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    restoring.reconfigure(lab, VM, vim.vm.ConfigSpec(deviceChange=[change]))


def reset_tracking(lab):
    with restoring.hands(lab) as session:
        moref = inventory.find_vm(session, VM).moref
        changes.disable_tracking(session, moref)
    snapshot(lab)
    remove_all(lab)


def fail_query(lab):
    lab.fault(method="QueryChangedDiskAreas", fault="FileFault")


@pytest.mark.parametrize(
    ("bring_about", "reason"),
    [
        (reset_tracking, FullReason.TRACKING_RESET),
        (fail_query, FullReason.QUERY_FAILED),
        (grow, FullReason.RESIZED),
        (lambda lab: restoring.swap_disk(lab, VM), FullReason.NEW_DISK),
    ],
    ids=lambda value: value.value if isinstance(value, FullReason) else "",
)
def test_the_reason_is_in_the_point_and_counted_in_the_result(lab, follows, bring_about, reason):
    restoring.back_up(follows, VM)
    bring_about(lab)

    sealed = restoring.back_up(follows, VM)

    (image,) = images(follows, sealed)
    assert (image.kind, image.full_reason) == (BackupKind.FULL, reason), image.reason
    assert sealed.full_reads == {reason.value: 1}


@pytest.mark.parametrize("fails", [False, True], ids=["complete", "failed"])
def test_the_backup_after_a_restore_over_the_vm_is_full_and_says_why(lab, follows, fails):
    guest_writes(lab, 4 << 20, seed=4)
    point = restoring.back_up(follows, VM).point
    if fails:
        lab.fault(nfc={"on": "write", "code": 14011, "after_bytes": 0, "count": None})
        with pytest.raises(VmKeepError):
            restoring.restore_whole(follows, point, on_conflict="overwrite", all_blocks=True)
        lab.clear()
    else:
        restoring.restore_whole(follows, point, on_conflict="overwrite")

    sealed = restoring.back_up(follows, VM)

    (image,) = images(follows, sealed)
    assert (image.kind, image.full_reason) == (BackupKind.FULL, FullReason.TRACKING_RESET), image.reason
    assert sealed.full_reads == {FullReason.TRACKING_RESET.value: 1}
    if fails:
        restoring.restore_whole(follows, point, on_conflict="overwrite")  # so that it runs, and is whole again


def test_tracking_is_not_switched_on_under_a_snapshot_and_every_full_says_so(lab, follows):
    restoring.back_up(follows, VM)
    with restoring.hands(lab) as session:
        changes.disable_tracking(session, inventory.find_vm(session, VM).moref)
    snapshot(lab)
    said = []
    request = BackupRequest(vm_selector=VM, run=restoring.new_run())
    try:
        sealed, _ = run_backup(follows, request, bars=restoring.silent, announce=said.append)
        again = restoring.back_up(follows, VM)
    finally:
        remove_all(lab)

    for one in (sealed, again):
        (image,) = images(follows, one)
        assert image.full_reason is FullReason.SNAPSHOTS_IN_THE_WAY, image.reason
        assert "remove them first" in image.reason
    assert any("is read in full" in line for line in said)
    assert restoring.back_up(follows, VM).full_reads, "tracking begins once the snapshots are gone"
    assert restoring.back_up(follows, VM).kind == "incremental"


def test_a_point_tells_the_transport_that_was_used_and_those_that_were_allowed(follows):
    sealed = restoring.back_up(follows, VM, transports=(TransportMode.HOTADD, TransportMode.NBDSSL))

    (image,) = images(follows, sealed)
    assert (image.transport, image.transports_asked) == ("nbdssl", ("hotadd", "nbdssl"))
    assert sealed.transports == ("nbdssl",)


@pytest.fixture
def lied(lab, site):
    """A chain of a full and two increments, the second of which lacks a change; and the content it should have."""
    full = restoring.back_up(site, VM)
    guest_writes(lab, 1 << 20, seed=1)
    honest = restoring.back_up(site, VM, audit=1)
    guest_writes(lab, 8 << 20, seed=2)
    lab.fault(effect="change_left_out")
    blind = restoring.back_up(site, VM, audit=0)
    return full, honest, blind


def guest_writes(lab, offset, seed):
    lab.write(VM, 2000, [{"offset": offset, "length": 4096, "seed": seed}])


def marks(site):
    with open_repository(site.repository) as repository:
        return repository.marks.all()


def test_a_lie_of_change_tracking_is_found_marked_and_healed_in_the_same_run(lab, site, lied, bench):
    _, honest, blind = lied
    assert bench.stored(blind.point) != bench.disks(VM, 2000), "without an audit nobody would know"
    guest_writes(lab, 2 << 20, seed=3)

    sealed = restoring.back_up(site, VM, audit=1)

    (image,) = images(site, sealed)
    assert (image.kind, image.full_reason) == (BackupKind.FULL, FullReason.TRACKING_LIED)
    assert image.audit.lies == sealed.lies == 1
    assert image.audit.first_lie == 8 << 20
    assert bench.stored(sealed.point) == bench.disks(VM, 2000)
    assert set(marks(site)) == set(sealed.suspects) == {honest.point, blind.point}, (
        "the full and the new point are good"
    )
    assert any("left out a change" in warning and blind.point in warning for warning in sealed.warnings)

    after = restoring.back_up(site, VM, audit=1)
    assert (after.kind, after.lies, after.full_reads) == ("incremental", 0, {})


def test_an_increment_never_continues_a_suspect_point_and_a_restore_of_it_warns(site, lied):
    *_, blind = lied
    with open_repository(site.repository) as repository:
        repository.marks.suspect(blind.point, "Hard disk 1", reason="somebody said so")

    sealed = restoring.back_up(site, VM)

    assert sealed.full_reads == {"point-suspect": 1}
    wanted = make_request(point=blind.point, run=restoring.new_run(), new_name="web01-doubtful")
    assert any("marked suspect (Hard disk 1): somebody said so" in told for told in plan_restore(site, wanted).warnings)


def test_a_run_audits_its_share_and_the_next_run_the_next_one(site):
    restoring.back_up(site, VM)

    first, second = (images(site, restoring.back_up(site, VM))[0].audit for _ in range(2))

    assert (first.of, second.of) == (100, 100)
    assert second.phase == (first.phase + 1) % 100
    assert first.blocks < 10
