"""A store that takes no notes, because it is full or read-only, hides nothing that a check has found."""

from __future__ import annotations

import subprocess

import pytest

from vmkeep.errors import (
    CancelledError,
    MalwareFoundError,
    NotFoundError,
    NotScannedError,
    StoreFullError,
    UnreachableError,
)
from vmkeep.flows.check_values import Checked
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
from vmkeep.flows.malware import PointScanner, ScanWish
from vmkeep.flows.proving import record
from vmkeep.flows.scan_outcome import about_scan
from vmkeep.images import import_images
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.model.scanning import ScanFirst, ScanOutcome
from vmkeep.repository import create_repository, open_in
from vmkeep.scanning import Verdict, VerdictKind
from vmkeep.testing import FaultyStore


@pytest.fixture
def store(tmp_path):
    """The store of a repository that can be told to fail."""
    return FaultyStore(create_repository(str(tmp_path / "repository")).blobs)


@pytest.fixture
def repository(store):
    return open_in(store)


@pytest.fixture
def point(repository, tmp_path):
    """A point of a FAT with two files, of which the first is evil."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(2 << 20))
    subprocess.run(["mkfs.vfat", "-i", "12345678", str(image)], check=True, capture_output=True)
    for name, content in {"a": b"EVIL", "b": b"CRASH"}.items():
        subprocess.run(["mcopy", "-i", str(image), "-", f"::{name}"], input=content, check=True)
    return import_images(repository, [image], name="web").ref


def is_full(store, *folders):
    for folder in folders:
        store.fail("write", with_=StoreFullError("no room"), prefix=folder, times=1000)


class Words:
    """Finds a word in files. Another one brings it down."""

    facts = ScannerFacts(name="Words", version="1")
    warnings = ()

    def __init__(self, *, falls=UnreachableError, finds=True):
        self.falls = falls
        self.finds = finds
        self.asked = 0

    def scan(self, content):
        self.asked += 1
        data = b"".join(content.pieces())
        if b"CRASH" in data and self.falls is not None:
            raise self.falls("the scanner is gone")
        found = self.finds and b"EVIL" in data
        return Verdict(kind=VerdictKind.FOUND, text="Evil.Word") if found else Verdict(kind=VerdictKind.CLEAN)


def scanner_of(repository, tmp_path, words):
    return PointScanner(repository, (words,), threads=1, folder=tmp_path, check=lambda: None, by="test", run="")


def nothing(*_told):
    return lambda _progress: None


@pytest.mark.parametrize("result", list(ProofResult))
def test_the_outcome_of_a_check_is_told_if_it_cannot_be_kept(store, repository, point, result):
    is_full(store, "proofs/")
    checked = Checked(kind=ProofKind.DIGESTS, result=result, text="7 blocks were looked at")

    if result is ProofResult.FAILED:
        proof = record(repository, point, checked, by="test")
        assert (proof.result, proof.point) == (result, point)
        assert proof.text == "7 blocks were looked at; this is not kept with the point: no room"
    else:
        with pytest.raises(StoreFullError, match=f"digests {result}: 7 blocks were looked at; this is not kept"):
            record(repository, point, checked, by="test")
    assert repository.proofs.of(point) == ()


def test_a_check_of_a_point_that_is_gone_fails_whatever_it_found(repository, point):
    checked = Checked(kind=ProofKind.DIGESTS, result=ProofResult.FAILED, text="lost")

    with pytest.raises(NotFoundError):
        record(repository, f"{point[:-4]}0000", checked, by="test")


def test_malware_is_told_if_it_cannot_be_kept(store, repository, point, tmp_path):
    is_full(store, "proofs/")

    scanned = scanner_of(repository, tmp_path, Words(falls=None)).scan(point, ScanWish(), on_progress=nothing)

    assert (scanned.result, scanned.found) == (ProofResult.FAILED, 1)
    with pytest.raises(StoreFullError, match="malware passed: nothing found"):
        scanner_of(repository, tmp_path, Words(falls=None, finds=False)).scan(point, ScanWish(), on_progress=nothing)


def test_the_scan_of_a_restore_counts_although_it_cannot_be_kept_and_an_older_one_found_nothing(
    store, repository, point, tmp_path
):
    def scan(words):
        return scanner_of(repository, tmp_path, words).scan(point, ScanWish(), on_progress=nothing).outcome

    restored = repository.find_point(point)
    clean = scan(Words(falls=None, finds=False))
    assert about_scan(repository, restored, ScanFirst.REFUSE, clean) == ()
    is_full(store, "proofs/")
    found = scan(Words(falls=None))

    (warning,) = about_scan(repository, restored, ScanFirst.WARN, found)
    assert warning.startswith(f"{point} is not clean: malware in 1 file")
    with pytest.raises(MalwareFoundError, match="is not clean: malware in 1 file"):
        about_scan(repository, restored, ScanFirst.REFUSE, found)


def test_a_scan_of_a_restore_that_cannot_tell_is_not_made_good_by_an_older_one(repository, point, tmp_path):
    scanner_of(repository, tmp_path, Words(falls=None, finds=False)).scan(point, ScanWish(), on_progress=nothing)
    restored = repository.find_point(point)
    unclear = ScanOutcome(result=ProofResult.UNDECIDED, text="not everything was scanned")

    assert about_scan(repository, restored, ScanFirst.WARN, unclear) == (
        f"{point} is not known to be clean: not everything was scanned",
    )
    with pytest.raises(NotScannedError, match="not everything was scanned"):
        about_scan(repository, restored, ScanFirst.REFUSE, unclear)


def test_a_find_counts_although_a_later_file_brings_the_scanner_down(repository, point, tmp_path):
    scanned = scanner_of(repository, tmp_path, Words()).scan(point, ScanWish(), on_progress=nothing)

    assert scanned.result is ProofResult.FAILED
    assert [volume.problem for volume in scanned.volumes] == ["the scanner is gone"]
    (proof,) = repository.proofs.of(point)
    assert proof.result is ProofResult.FAILED
    assert "Evil.Word" in proof.text


@pytest.mark.parametrize(("finds", "falls"), [(False, UnreachableError), (True, CancelledError)])
def test_a_scan_that_found_nothing_or_was_stopped_leaves_nothing(repository, point, tmp_path, finds, falls):
    with pytest.raises(falls):
        scanner_of(repository, tmp_path, Words(finds=finds, falls=falls)).scan(point, ScanWish(), on_progress=nothing)

    assert repository.proofs.of(point) == ()


def test_no_point_that_cannot_be_scanned_hides_another_one(repository, point, tmp_path):
    told = []

    done = scanner_of(repository, tmp_path, Words(falls=None)).scan_each(
        ["latest:nothing", point], ScanWish(), on_progress=nothing, tell=nothing, on_done=told.append
    )

    assert [each.point for each in told] == [point]
    assert done.scanned == tuple(told)
    assert list(done.unread) == ["latest:nothing"]


def test_a_scanner_that_is_gone_is_not_asked_for_every_further_point(repository, point, tmp_path):
    words = Words(finds=False)

    done = scanner_of(repository, tmp_path, words).scan_each(
        [point, "latest:web"], ScanWish(), on_progress=nothing, tell=nothing, on_done=nothing
    )

    assert {ref: str(error) for ref, error in done.unread.items()} == {
        point: "the scanner is gone",
        "latest:web": "the scanner is gone",
    }
    assert words.asked == 2, "the files of one point"


def test_torn_groups_are_told_if_they_can_neither_be_kept_nor_marked(store, repository, guest_disks):
    torn = import_images(repository, [guest_disks.path("ia"), guest_disks.path("iib")], name="torn")
    import_images(repository, [guest_disks.path("ia"), guest_disks.path("ib")], name="good")
    is_full(store, "proofs/", "marks/")

    report = check_lvm(repository, LvmRequest(mark=True, record=True), by="test")

    assert report.summary.names == ["torn"]
    assert report.summary.unread == {}, "each was checked"
    assert {ref.split("/")[0]: why for ref, why in report.summary.unkept.items()} == dict.fromkeys(
        ["image-torn", "image-good"], "no room"
    )
    (told,) = (check.told for check in report.checks if check.point == torn.ref)
    assert told == ("it could not be marked as suspect: no room",)
