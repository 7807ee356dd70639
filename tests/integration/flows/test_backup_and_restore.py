"""The main job, through the same functions that Airflow's operators and the command line call."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.integration.flows import restoring
from vmkeep.errors import ConflictError, UnsupportedError, UsageError
from vmkeep.flows import backup
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_request import OnConflict, make_request
from vmkeep.flows.serving import ServeRequest, serve_point
from vmkeep.model.disk import SkipReason
from vmkeep.model.point import BackupKind, BackupMode, Consistency, Quiesce
from vmkeep.model.proofs import ProofKind
from vmkeep.repository import Lost, create_repository, open_repository
from vmkeep.repository.notes import tries
from vmkeep.repository.sealing import handshake

KEYS = (2000, 2001, 16000)
"""The disks of app01 that a backup copies; 2016 is its physical RDM."""


def back_up(site, vm="app01", **options):
    return restoring.back_up(site, vm, **options)


restore = restoring.restore_whole


@pytest.fixture(scope="module")
def of_app01(lab, tmp_path_factory):
    """A site, and a backup of app01 as it came."""
    location = str(tmp_path_factory.mktemp("app01") / "repository")
    create_repository(location)
    site = restoring.site_of(lab, location)
    return site, back_up(site)


def guest_writes(bench, seed, disk=16000, offset=1 << 20, length=300_000):
    bench.lab.write("app01", disk, [{"offset": offset, "length": length // 512 * 512, "seed": seed}])


def test_a_full_backup_holds_every_byte_and_leaves_no_snapshot(bench):
    before = bench.disks("app01", *KEYS)

    sealed = back_up(bench.site)

    assert bench.stored(sealed.point) == before
    assert bench.snapshots("app01") == []
    assert sealed.kind == "full"


def test_all_files_that_are_saved_with_a_point_share_one_index_segment(of_app01):
    """Every copy and every verify loads all segments, so each one more costs every later backup CPU seconds."""
    site, sealed = of_app01
    with open_repository(site.repository) as repository:
        segments = list(repository.blobs.list("index/"))
        attached = [name for name in repository.load_point(sealed.point).attachments if "/" not in name]
    assert len(attached) > 2
    assert len(segments) <= len(KEYS) + 1


def test_a_backup_leaves_nothing_in_the_area_of_its_run(of_app01):
    """Only what its limits and its VM have for all runs is left: the numbers of their turns, and an empty note."""
    site, _ = of_app01
    with open_repository(site.repository) as repository:
        areas = {blob.key.split("/")[1].partition("-")[0] for blob in repository.blobs.list("runs/")}
        assert [usage.holders for usage in repository.usages() if usage.holders] == []
    assert areas == {"permits", "vmkeep"}


def test_a_backup_is_one_try_from_the_snapshot_to_the_seal_and_walks_nothing(bench, monkeypatch):
    walked = []
    monkeypatch.setattr(handshake, "walk", lambda *given: walked.append(given))

    back_up(bench.site, "web01")

    assert walked == []
    with open_repository(bench.site.repository) as repository:
        assert tries.begun_keys(repository.blobs) == []


def test_the_skipped_rdm_is_recorded_with_the_reason(of_app01):
    site, sealed = of_app01

    with open_repository(site.repository) as repository:
        point = repository.load_point(sealed.point)
    rdm = next(disk for disk in point.disks if disk.key == 2016)
    assert (rdm.skip, rdm.backing, rdm.compatibility_mode) == (
        SkipReason.PHYSICAL_RDM, "RawDiskMappingVer1", "physicalMode",
    )  # fmt: skip
    assert any("physical-mode RDM" in warning for warning in sealed.warnings)
    assert sealed.disks_skipped == 1


def test_an_incremental_reads_only_what_changed_and_is_complete_by_itself(bench):
    full = back_up(bench.site)
    guest_writes(bench, seed=7)
    changed = bench.disks("app01", *KEYS)

    sealed = back_up(bench.site)

    assert sealed.kind == "incremental"
    assert sealed.bytes_read < 2 << 20 < full.bytes_read
    assert bench.stored(sealed.point) == changed


def test_an_older_point_stays_what_it_was(bench):
    first_bytes = bench.disks("app01", *KEYS)
    first = back_up(bench.site)
    guest_writes(bench, seed=8)
    back_up(bench.site)

    assert bench.stored(first.point) == first_bytes


def test_zeros_written_by_the_guest_replace_what_was_there(bench):
    guest_writes(bench, seed=9)
    back_up(bench.site)
    bench.lab.write("app01", 16000, [{"offset": 1 << 20, "length": 299_520, "zero": True}])
    now = bench.disks("app01", *KEYS)

    sealed = back_up(bench.site)

    assert bench.stored(sealed.point) == now


def test_after_a_damaged_point_every_disk_is_read_in_full_once(bench):
    damaged = back_up(bench.site, "web01")
    with open_repository(bench.site.repository) as repository:
        repository.marks.mark_damaged(damaged.point, [Lost(name="Hard disk 1")])

    sealed = back_up(bench.site, "web01")

    with open_repository(bench.site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert sealed.kind == "full"
    assert {image.reason for image in point.images} == {f"{damaged.point} is marked damaged"}
    assert back_up(bench.site, "web01").kind == "incremental"


def test_a_last_point_whose_manifest_is_damaged_stops_no_backup(bench):
    damaged = back_up(bench.site, "web01")
    manifest = Path(bench.site.repository, "points", damaged.point)
    manifest.write_bytes(manifest.read_bytes()[:-1])

    sealed = back_up(bench.site, "web01")

    assert sealed.kind == "full"
    assert any("manifest is damaged" in warning for warning in sealed.warnings)


def test_every_full_and_incremental_says_why(bench):
    back_up(bench.site, "web01")
    sealed = back_up(bench.site, "web01", full=True)

    with open_repository(bench.site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert {image.reason for image in point.images} == {"a full was asked for"}


@pytest.mark.parametrize("plan", [{"fault": "FileFault"}, {"fault": "SystemError"}, {"fault": "NotFound"}])
def test_changes_that_vsphere_does_not_tell_are_a_full_read_that_says_why(bench, plan):
    restoring.back_up(bench.site, "web01")
    bench.lab.fault(method="QueryChangedDiskAreas", message="no such epoch", **plan)

    sealed = restoring.back_up(bench.site, "web01")

    with open_repository(bench.site.repository) as repository:
        (image,) = repository.load_point(sealed.point).images
    assert image.kind is BackupKind.FULL
    assert f"{plan['fault']}: no such epoch" in image.reason
    assert bench.stored(sealed.point) == bench.disks("web01", 2000)


def test_a_restore_over_the_vm_brings_back_every_byte(bench):
    then = bench.disks("app01", *KEYS)
    sealed = back_up(bench.site)
    guest_writes(bench, seed=10, length=4 << 20)
    guest_writes(bench, seed=11, disk=2000, offset=0, length=1 << 20)
    assert bench.disks("app01", *KEYS) != then

    done = restore(bench.site, sealed.point, on_conflict=OnConflict.OVERWRITE)

    assert bench.disks("app01", *KEYS) == then
    assert (done.created, done.powered_on, done.disks_written) == (False, True, 3)
    assert back_up(bench.site).kind == "full", "after a restore, change tracking starts anew"


def test_a_new_vm_gets_every_disk_at_its_place_and_a_placeholder_for_the_rdm(bench):
    then = bench.disks("app01", *KEYS)
    sealed = back_up(bench.site)
    name = f"app01-{uuid.uuid4().hex[:6]}"

    done = restore(bench.site, sealed.point, new_name=name)

    state = bench.lab.vm(name)
    addresses = {disk["key"]: disk for disk in state["disks"]}
    assert len(addresses) == 4
    hashes = {key: bench.lab.hash(name, key) for key in addresses}
    assert sorted(hash_ for key, hash_ in hashes.items() if hash_ in then.values()) == sorted(then.values())
    assert done.created
    assert any("RDM" in warning for warning in done.warnings)
    with open_repository(bench.site.repository) as repository:
        proofs = {proof.kind: proof for proof in repository.proofs.of(sealed.point)}
    assert set(proofs) == {ProofKind.WRITTEN, ProofKind.TARGET}, "the backup and the restore leave a proof each"
    assert all(proof.passed and proof.run for proof in proofs.values())
    assert f"3 disks of VM {name}" in proofs[ProofKind.TARGET].text


def test_writing_over_disks_has_to_be_said(bench):
    sealed = back_up(bench.site, "web01")
    before = bench.disks("web01", 2000)

    with pytest.raises(ConflictError, match="overwrite"):
        restore(bench.site, sealed.point)

    assert bench.lab.vm("web01")["power"] == "poweredOn"
    assert bench.disks("web01", 2000) == before


def test_a_powered_off_vm_is_backed_up_too(bench):
    sealed = back_up(bench.site, vm="old01")

    assert sealed.consistency == "powered-off"
    assert bench.snapshots("old01") == []


def test_an_excluded_disk_is_recorded_and_a_misspelt_one_is_refused(bench):
    sealed = back_up(bench.site, exclude=("sata0:0",))
    assert sealed.disks_copied == 2

    with pytest.raises(UsageError, match="scsi0:0"):
        back_up(bench.site, exclude=("sata9:9",))


def test_a_running_vm_is_not_read_as_it_is(bench):
    with pytest.raises(UnsupportedError, match="power it off"):
        back_up(bench.site, mode=BackupMode.ASIS)


def test_a_memory_snapshot_beside_an_rdm_is_changed_with_a_warning(bench):
    sealed = back_up(bench.site, mode=BackupMode.SNAPSHOT_INCL_MEM)

    with open_repository(bench.site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert (point.mode_asked, point.mode_used) == (BackupMode.SNAPSHOT_INCL_MEM, BackupMode.SNAPSHOT_EXCL_MEM)
    assert any("changed to SNAPSHOT_EXCL_MEM" in warning for warning in point.warnings)


def test_applications_that_may_not_have_been_flushed_are_a_warning(bench):
    sealed = back_up(bench.site, "web01", quiesce=Quiesce.APPLICATION)

    with open_repository(bench.site.repository) as repository:
        point = repository.load_point(sealed.point)
    assert point.consistency is Consistency.FILE_SYSTEM
    assert any("application" in warning for warning in point.warnings)


def test_a_disk_that_a_new_vm_gets_empty_is_warned_of_once(of_app01):
    site, sealed = of_app01

    request = make_request(point=sealed.point, run=f"test-{uuid.uuid4().hex[:8]}", new_name="app01-planned")
    warnings = plan_restore(site, request).warnings

    assert ["16 MiB" in warning for warning in warnings if "Hard disk 4" in warning] == [True]


def test_a_failed_copy_leaves_no_snapshot_and_no_point(bench):
    bench.lab.fault(nfc={"code": 14009, "after_bytes": 0, "count": 50})
    try:
        with pytest.raises(Exception, match="14009"):
            back_up(bench.site)
    finally:
        bench.lab.clear()

    assert bench.snapshots("app01") == []
    with open_repository(bench.site.repository) as repository:
        assert list(repository.point_refs()) == []


def test_a_restore_that_fails_leaves_no_half_made_vm(bench):
    sealed = back_up(bench.site, "web01")
    bench.lab.fault(nfc={"code": 8, "after_bytes": 0, "count": 50})
    try:
        with pytest.raises(Exception, match="disk"):
            restore(bench.site, sealed.point, new_name="half-made")
    finally:
        bench.lab.clear()

    assert "half-made" not in [vm["name"] for vm in bench.lab.state()["vms"]]


def test_a_vm_is_not_written_over_while_it_is_being_backed_up(bench):
    sealed = back_up(bench.site, "web01")
    request = BackupRequest(vm_selector="web01", run="still-running")
    pre = backup.preflight(bench.site, request)
    backup.take_snapshot(bench.site, pre)
    try:
        with pytest.raises(ConflictError, match="still-running"):
            restore(bench.site, sealed.point, on_conflict=OnConflict.OVERWRITE)
        with pytest.raises(ConflictError, match="still-running"):
            back_up(bench.site, "web01")
    finally:
        backup.remove_snapshot(bench.site, pre.vm.moref, request.run)

    assert bench.lab.vm("web01")["power"] == "poweredOn"
    assert bench.snapshots("web01") == []


def test_a_server_warns_of_each_disk_of_the_vm_that_is_not_in_the_point(of_app01, tmp_path):
    site, sealed = of_app01
    told = []
    request = ServeRequest(point=sealed.point, socket=tmp_path / "s")
    with (
        open_repository(site.repository) as repository,
        serve_point(repository, request, tell=lambda line, warning: told.append((line, warning))) as served,
    ):
        assert "Hard disk 4" not in [disk.label for disk in served.disks]
    ((line, _),) = ((line, warning) for line, warning in told if warning)
    assert line.startswith("Hard disk 4 (")
    assert "not in the point: " in line
