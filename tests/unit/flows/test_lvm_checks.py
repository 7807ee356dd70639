"""A restore point whose LVM contradicts itself is found, named, and marked on request; nothing else is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.quality_world import point as night
from vmkeep.errors import NotFoundError, SelectorError, UsageError
from vmkeep.flows import disk_images, lvm_checks, lvm_history, lvm_looks, parents
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm, divide
from vmkeep.flows.lvm_history import failure_keys
from vmkeep.guest.lvm import Finding, FindingCode, Severity
from vmkeep.images import import_images
from vmkeep.model.audit import Audit
from vmkeep.model.extents import Extent
from vmkeep.model.fullreason import FullReason
from vmkeep.model.job import to_plain
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import Repository, create_repository, point_id

MIB = 1 << 20
CONSISTENT = ("ia", "ib")
STALE = ("ia", "iib")


@pytest.fixture
def repository(tmp_path) -> Repository:
    return create_repository(str(tmp_path / "repository"))


@pytest.fixture
def store(repository, guest_disks):
    """Stores disks of the fixtures as points; each is a second younger than the one before."""

    def store(vm: str, *names: str, **options: Any) -> RestorePoint:
        return import_images(repository, [guest_disks.path(name) for name in names], name=vm, **options)

    return store


def check(repository: Repository, *points: str, **fields: Any):
    return check_lvm(repository, LvmRequest(points=points, **fields), by="somebody")


def codes(report, vm: str | None = None) -> list[str]:
    return [found.code.value for check in report.checks if vm in (None, check.vm) for found in check.findings]


def divided(repository: Repository, **fields: Any):
    return divide(repository, LvmRequest(**fields), announced=None)


def everything(repository: Repository) -> dict[str, int]:
    return {blob.key: blob.size for blob in repository.blobs.list("")}


def test_the_newest_point_of_every_vm_is_checked_and_the_outcome_is_as_scripts_read_it(repository, store):
    store("db01", *STALE)
    repaired = store("db01", *CONSISTENT)
    wrong = store("web01", *STALE)
    plain = store("plain", "vi")

    report = check(repository)
    document = report.document

    points = {point["point"]: point for point in document["points"]}
    assert set(points) == {repaired.ref, wrong.ref, plain.ref}
    assert points[repaired.ref] == {
        "point": repaired.ref,
        "vm": "db01",
        "disks": 2,
        "vgs": [{"name": "vgdata", "uuid": "mVftY8-TDIx-TdME-8Uqh-Ex0A-yXNX-c4htxu", "seqno": 5, "pvs": 2}],
        "findings": [],
    }
    (found,) = points[wrong.ref]["findings"]
    assert found.keys() == {"code", "severity", "vg", "pv", "disk", "text"}
    assert (found["code"], found["severity"], found["vg"]) == ("seqno-differs", "failure", "vgdata")
    assert points[plain.ref]["vgs"] == []
    summary = document["summary"]
    assert summary.pop("seconds_per_vm") > 0
    assert summary == {"vms": 3, "disks": 5, "inconsistent": 1, "percent": 33.33, "names": ["web01"]}


def test_a_check_writes_nothing_unless_it_is_asked_to(repository, store):
    point = store("web01", *STALE)
    before = everything(repository)

    check(repository, point.ref)
    check(repository, all_points=True)

    assert everything(repository) == before


def test_a_marked_point_is_continued_by_no_increment_until_somebody_trusts_it(repository, store):
    point = store("web01", *STALE)

    report = check(repository, mark=True)

    assert report.summary.marked == (point.ref,)
    unfit = parents.find_unfit(repository, point.ref)
    assert unfit is not None
    assert unfit.reason is FullReason.POINT_SUSPECT
    doubt = repository.marks.suspicion_of(point.ref)
    assert doubt is not None
    assert "seqno-differs" in doubt.reason
    assert set(doubt.disks) == {image.disk.label for image in point.images}
    repository.marks.trust(point.ref, reason="compared", by="somebody")
    assert parents.find_unfit(repository, point.ref) is None


def test_later_points_that_continue_the_wrong_disks_are_marked_too_so_that_the_next_backup_is_full(
    repository, store, guest_disks
):
    wrong = store("web01", *STALE)
    unchanged = [[Extent(60 * MIB, 61 * MIB)], [Extent(60 * MIB, 61 * MIB)]]
    newest = store("web01", *STALE, extents=unchanged, since=wrong.ref)
    read_anew = store("web01", *CONSISTENT)

    report = check(repository, wrong.ref, mark=True)

    assert set(report.summary.marked) == {wrong.ref, newest.ref}
    assert repository.marks.suspicion_of(read_anew.ref) is None


def test_a_full_that_shows_the_same_is_not_marked_again_because_one_more_full_would_not_help(repository, store):
    first = store("web01", *STALE)
    check(repository, mark=True)
    second = store("web01", *STALE)

    report = check(repository, mark=True)

    assert report.summary.inconsistent
    assert report.summary.marked == ()
    assert any(first.ref in sentence and "look into the guest" in sentence for sentence in report.checks[0].told)
    assert repository.marks.suspicion_of(second.ref) is None


def test_a_failure_tells_what_was_confirmed_and_whether_change_tracking_may_be_the_cause(repository, store):
    good = store("web01", *CONSISTENT)
    metadata = [[Extent(0, 2 * MIB)], [Extent(0, 2 * MIB)]]
    store("web01", "ia", "ivb", extents=metadata, since=good.ref)
    store("imported", *STALE)

    report = check(repository)

    texts = {check.vm: check.findings[0].text for check in report.checks}
    assert "a second look has found the same" in texts["web01"]
    assert f"the point before, {good.ref}, has no such failure" in texts["web01"]
    assert "change tracking may have left out a write to" in texts["web01"]
    assert "change tracking is not the cause" in texts["imported"]


def test_a_failure_that_a_second_look_does_not_find_is_blamed_on_nobody(repository, store, monkeypatch):
    point = store("web01", *STALE)
    real, looks = lvm_looks.read_lvm, []

    def changing(disks):
        looks.append(disks)
        return real(disks) if len(looks) == 1 else real(disks[:1])

    monkeypatch.setattr(lvm_looks, "read_lvm", changing)

    report = check(repository, mark=True)

    assert len(looks) == 2
    assert "test the memory" in report.summary.unread[point.ref]
    assert report.summary.inconsistent == {}
    assert repository.marks.suspicion_of(point.ref) is None


def test_what_a_group_has_lost_since_the_point_before_is_found_whether_that_was_checked_or_not(
    repository, store, monkeypatch
):
    store("web01", *CONSISTENT)
    store("web01", "vi")
    assert "vg-lost-pv" in codes(check(repository)), "the point before is looked at"
    assert "vg-lost-pv" in codes(check(repository, all_points=True))

    store("db01", *CONSISTENT)
    check(repository, record=True)
    store("db01", "vi")
    looks: list[Any] = []
    real = lvm_looks.read_lvm
    monkeypatch.setattr(lvm_looks, "read_lvm", lambda disks: looks.append(disks) or real(disks))

    assert "vg-lost-pv" in codes(check(repository, selector="name:db01"))
    assert len(looks) == 1, "a proof tells the groups of the point before"


def test_only_an_audit_of_every_block_that_found_no_lie_clears_change_tracking():
    image = night("web01", 0).images[0]

    assert lvm_looks.tracked(image)
    assert lvm_looks.tracked(replace(image, audit=Audit(phase=0, of=2)))
    assert lvm_looks.tracked(replace(image, audit=Audit(phase=0, of=1, lies=1)))
    assert not lvm_looks.tracked(replace(image, audit=Audit(phase=0, of=1)))


def test_a_disk_that_the_point_does_not_hold_is_named_and_no_damage(repository, store):
    good = store("web01", *CONSISTENT)
    vm = replace(good.vm, name="half", key="image-half")
    half = replace(
        good, id=point_id("half", vm.key), vm=vm, run="half", images=good.images[:1], skipped=(good.images[1].disk,)
    )
    repository.seal(half)

    report = check(repository, half.ref)

    assert codes(report) == ["pv-on-disk-not-in-backup"]
    assert report.summary.inconsistent == {}


def test_a_proof_without_the_ids_of_groups_tells_nothing_about_the_point_before(repository, store):
    point = store("web01", *CONSISTENT)
    check(repository, record=True)
    (proof,) = repository.proofs.of(point.ref)
    failure = Finding(code=FindingCode.SEQNO_DIFFERS, severity=Severity.FAILURE, vg="vgdata", text="they differ")
    unnamed = replace(proof, details=proof.details | {"findings": to_plain((failure,))})

    assert lvm_history._kept(proof) is not None
    assert lvm_history._kept(unnamed) is None


def test_a_check_is_kept_with_its_point_if_that_is_asked_for(repository, store):
    good, wrong = store("db01", *CONSISTENT), store("web01", *STALE)

    check_lvm(repository, LvmRequest(record=True), by="DAG guest_checks", run="nightly")

    (proof,) = repository.proofs.of(good.ref)
    assert (proof.kind, proof.result, proof.run) == (ProofKind.LVM, ProofResult.PASSED, "nightly")
    (failed,) = repository.proofs.of(wrong.ref)
    assert failed.result is ProofResult.FAILED
    assert "sequence numbers" in failed.text


@pytest.fixture
def luks(tmp_path) -> Path:
    """A disk that is encrypted as a whole."""
    path = tmp_path / "luks.raw"
    path.write_bytes((b"LUKS\xba\xbe\0\2" + bytes(MIB) + b"noise").ljust(2 * MIB, b"\1"))
    return path


def judged(repository: Repository, point: RestorePoint) -> tuple[ProofResult, str]:
    (proof,) = repository.proofs.of(point.ref)
    return proof.result, proof.text


def test_only_groups_that_were_seen_pass_and_no_group_that_may_lie_unseen_is_called_consistent(
    repository, store, guest_disks, luks, tmp_path
):
    plain = tmp_path / "plain.raw"
    plain.write_bytes((bytes(4086) + b"SWAPSPACE2").ljust(MIB, b"\0"))
    without = import_images(repository, [plain], name="without")
    hidden = import_images(repository, [luks], name="hidden")
    beside = import_images(repository, [guest_disks.path("ia"), guest_disks.path("ib"), luks], name="beside")

    report = check(repository, record=True)

    assert judged(repository, without) == (
        ProofResult.UNDECIDED, "it has no LVM: no volume group is on its 1 disk",
    )  # fmt: skip
    result, text = judged(repository, hidden)
    assert result is ProofResult.UNDECIDED
    assert text.startswith("LVM may lie unseen in disk0 (luks2)")
    result, text = judged(repository, beside)
    assert result is ProofResult.UNDECIDED
    assert text.startswith("1 volume group on 3 disks, consistent, but LVM may lie unseen in disk2 (luks2)")
    told = {one["point"]: one["places"] for one in report.document["unopened"]}
    assert told.keys() == {hidden.ref, beside.ref} == report.summary.unopened.keys()
    assert "2 points may have LVM in volumes that nobody can open" in "\n".join(report.summary.lines)
    assert report.summary.unread == {}, "each of them was checked as far as anybody can"


def test_a_check_that_saw_all_there_is_tells_the_groups_of_the_point_before_though_it_is_undecided(
    repository, guest_disks, luks, monkeypatch
):
    import_images(repository, [guest_disks.path("ia"), guest_disks.path("ib"), luks], name="web01")
    check(repository, record=True)
    import_images(repository, [guest_disks.path("vi"), luks], name="web01")
    looks: list[Any] = []
    real = lvm_looks.read_lvm
    monkeypatch.setattr(lvm_looks, "read_lvm", lambda disks: looks.append(disks) or real(disks))

    assert "vg-lost-pv" in codes(check(repository))
    assert len(looks) == 1, "the undecided proof tells the groups"


def test_a_check_that_could_not_read_a_disk_tells_nothing_about_the_point_before(repository, store):
    lost = store("web01", *CONSISTENT)
    lose(repository, repository.open_map(lost.images[1].root).lookup(0))
    check(repository, record=True)
    store("web01", *CONSISTENT)

    (again,) = check(repository).checks

    assert any("not compared with the point before" in sentence for sentence in again.told)


def test_points_that_are_named_are_compared_with_their_own_neighbour_and_all_points_are_looked_at_once(
    repository, store, monkeypatch
):
    first, _, last = store("web01", *CONSISTENT), store("web01", "vi"), store("web01", "vi")
    looks: list[Any] = []
    real = lvm_looks.read_lvm
    monkeypatch.setattr(lvm_looks, "read_lvm", lambda disks: looks.append(disks) or real(disks))

    assert codes(check(repository, first.ref, last.ref)) == [], "the point between them has lost it already"
    looks.clear()
    check(repository, all_points=True)

    assert len(looks) == 3


def test_a_warning_makes_the_proof_undecided(repository, guest_disks, tmp_path, monkeypatch):
    """It means that the check cannot tell."""
    image = guest_disks.path("ia")
    state = lvm_looks.read_lvm
    warning = Finding(code=FindingCode.PV_ON_RAID, severity=Severity.WARNING, text="it may lie on a RAID")
    monkeypatch.setattr(lvm_looks, "read_lvm", lambda disks: replace(state(disks), problems=(warning,)))
    point = import_images(repository, [image, guest_disks.path("ib")], name="raid")

    check(repository, record=True)

    assert [(proof.result, proof.text) for proof in repository.proofs.of(point.ref)] == [
        (ProofResult.UNDECIDED, "1 volume group on 2 disks, consistent, but it may lie on a RAID")
    ]


def test_a_proof_says_that_a_volume_is_not_in_the_backup_and_that_a_guest_has_no_volume_group(
    repository, store, tmp_path
):
    whole = store("half", *CONSISTENT)
    first, second = whole.images
    part = replace(whole, id=point_id("part", whole.vm.key), run="part", images=(first,), skipped=(second.disk,))
    half = repository.seal(part)
    (tmp_path / "plain.img").write_bytes(b"\1" * MIB)
    plain = import_images(repository, [tmp_path / "plain.img"], name="plain")

    check(repository, half, plain.ref, record=True)

    texts = [proof.text for ref in (half, plain.ref) for proof in repository.proofs.of(ref)]
    assert texts == [
        "1 volume group on 1 disk, all consistent; not in the backup: 1 physical volume",
        "it has no LVM: no volume group is on its 1 disk",
    ]


def test_a_point_that_cannot_be_read_is_named_and_stops_no_other(repository, store):
    lost, good = store("db01", "iva", "ivb"), store("web01", *CONSISTENT)
    gone = store("app01", *CONSISTENT)
    for image in lost.images[:1]:
        lose(repository, bytes.fromhex(image.root))
    repository.blobs.delete(f"points/{gone.ref}")

    report = check_lvm(repository, LvmRequest(refs=(lost.ref, good.ref, gone.ref)), by="somebody")

    assert set(report.summary.unread) == {lost.ref, gone.ref}
    assert "app01" in report.summary.unread[gone.ref]
    assert [check.point for check in report.checks] == [good.ref]


def test_a_disk_with_a_damaged_block_is_no_finding_about_lvm_and_its_point_counts_as_not_checked(repository, store):
    point = store("web01", "vip")
    root = point.images[0].root
    lose(repository, repository.open_map(root).lookup(0))

    report = check(repository, mark=True, record=True)

    assert codes(report) == ["unreadable"]
    assert report.checks[0].failures == ()
    assert "byte 0" in report.summary.unread[point.ref]
    assert repository.marks.suspicion_of(point.ref) is None
    assert [proof.result for proof in repository.proofs.of(point.ref)] == [ProofResult.UNDECIDED]


def test_guests_that_are_no_linux_are_passed_over_and_counted_unless_their_point_is_named(repository, guest_disks):
    def machine(name: str, guest_id: str) -> RestorePoint:
        request = disk_images.ImportRequest(paths=(guest_disks.path("vi"),), name=name, guest_id=guest_id)
        return disk_images.import_images(repository, request, on_progress=lambda _event: None).point

    windows, linux = machine("win01", "windows2019srv_64Guest"), machine("web01", "debian12_64Guest")
    unknown = machine("odd01", "otherGuest64")

    report = check(repository)

    assert {check.point for check in report.checks} == {linux.ref, unknown.ref}
    assert [*report.summary.skipped.values()] == ["win01 (windows2019srv_64Guest)"]
    assert "no Linux: win01" in "\n".join(report.summary.lines)
    assert [each.point for each in check(repository, windows.ref).checks] == [windows.ref]
    assert check_lvm(repository, LvmRequest(refs=(windows.ref,)), by="").checks == ()


def test_only_the_disk_that_a_failure_names_is_doubted_and_an_attached_copy_is_blamed_on_no_change_tracking(
    repository, store, guest_disks, tmp_path
):
    torn = tmp_path / "torn.raw"
    content = bytearray(guest_disks.path("ib").read_bytes())
    content[512 + 40] ^= 1  # in LVM's label
    torn.write_bytes(content)
    point = import_images(repository, [guest_disks.path("vi"), torn], name="torn")
    store("copied", "ia", "ib", "iva", "ivb")

    report = check(repository, mark=True)

    assert set(codes(report, "torn")) == {"metadata-torn"}
    doubt = repository.marks.suspicion_of(point.ref)
    assert doubt is not None
    assert doubt.disks == (point.numbered[1].disk.label,)
    (copied,) = [check for check in report.checks if check.vm == "copied"]
    texts = {found.code.value: found.text for found in copied.failures}
    assert texts["duplicate-pv"].endswith("change tracking is not the cause")


def test_the_disk_that_a_finding_names_is_always_among_the_doubted(repository, store):
    point = store("split", "lvm-split-a", "lvm-split-b-old")

    report = check(repository, mark=True)

    assert "pv-not-in-vg" in codes(report)
    doubt = repository.marks.suspicion_of(point.ref)
    assert doubt is not None
    assert point.numbered[1].disk.label in doubt.disks


def test_a_failure_of_one_group_is_not_known_from_another_group_of_that_name():
    one, other = (
        Finding(code=FindingCode.VG_LOST_LV, severity=Severity.FAILURE, vg="vg0", vg_uuid=uuid, text="it lost root")
        for uuid in ("first", "second")
    )

    assert not failure_keys([one]) <= failure_keys([other])
    assert failure_keys([one]) <= failure_keys([replace(one, text="in other words"), other])


def test_a_selector_chooses_vms_by_what_points_tell_and_refuses_what_they_do_not(repository, store):
    store("db01", *CONSISTENT)
    store("web01", *CONSISTENT)

    assert {each.vm for each in check(repository, selector="name:db*").checks} == {"db01"}
    assert {each.vm for each in check(repository, selector="not name:db*", all_points=True).checks} == {"web01"}
    with pytest.raises(UsageError, match="do not tell what tag:"):
        check(repository, selector="tag:a/b")
    with pytest.raises(SelectorError):
        check(repository, selector="name:")
    for nothing in (lambda: check(repository, selector="name:no"), lambda: divided(repository, selector="name:no")):
        with pytest.raises(NotFoundError, match="fits 'name:no'"):
            nothing()
    with pytest.raises(NotFoundError):
        check(repository, "no-such-point")


def test_a_fleet_is_divided_into_parts_that_add_up_to_it(repository, store, monkeypatch):
    monkeypatch.setattr(lvm_checks, "_PART", 2)
    points = [store(f"vm{number}", "vi") for number in range(3)]
    wrong = store("web01", *STALE)

    by_hand = divide(repository, LvmRequest(record=True), announced=None)
    selected = divide(repository, LvmRequest(selector="name:vm0"), announced=None)
    announced = divide(repository, LvmRequest(), announced={points[1].ref, wrong.ref, "elsewhere/20200101T000000Z-1"})

    assert [len(part.keys or ()) for part in by_hand] == [2, 2]
    assert [part.keys for part in selected] == [(points[0].vm.key,)]
    assert [set(part.refs) for part in announced] == [{points[1].ref, wrong.ref}]
    assert divide(repository, LvmRequest(), announced={"elsewhere/20200101T000000Z-1"}) == []
    whole = lvm_checks.summed(check_lvm(repository, part, by="").summary for part in by_hand)
    assert (len(whole.vms), whole.disks, whole.names) == (4, 5, ["web01"])
    assert whole.seconds > 0


def test_vms_that_share_one_uuid_are_compared_with_their_own_points_only(repository, store):
    """A storage-level copy of a VM has its original's UUID, and so its key."""
    original = store("web01", *CONSISTENT)
    copy = replace(
        store("web01", "vi"),
        id=point_id("run-of-copy", original.vm.key),
        run="run-of-copy",
        vm=replace(original.vm, vcenter="another", moref="vm-7"),
    )
    repository.seal(copy)

    report = check(repository, copy.ref)

    assert codes(report) == []


def lose(repository: Repository, digest: bytes) -> None:
    """Take the pack away that holds a block or a page of a map."""
    location = repository.index.find(digest)
    assert location is not None
    names = [blob.key for blob in repository.blobs.list("packs/") if location.pack.hex() in blob.key]
    Path(repository.location.removeprefix("file://"), *names).unlink()


def test_progress_counts_vms_and_an_error_of_its_taker_ends_the_check(repository, store):
    for number in range(3):
        store(f"vm{number}", "vi")
    events: list[Any] = []

    check_lvm(repository, LvmRequest(), by="", on_progress=events.append)

    assert [(event.bytes_done, event.bytes_total) for event in events] == [(1, 3), (2, 3), (3, 3)]

    class StoppedError(Exception):
        pass

    def stop(_event: SimpleNamespace) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        check_lvm(repository, LvmRequest(), by="", on_progress=stop)
