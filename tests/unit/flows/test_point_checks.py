"""The checks of several points end by the worst outcome, and a point that cannot be checked hides no other one."""

from __future__ import annotations

import pytest

from vmkeep.clock import now
from vmkeep.errors import (
    CancelledError,
    CorruptError,
    NotFoundError,
    StoreFullError,
    UndecidedError,
    UnsupportedError,
    VerificationError,
)
from vmkeep.flows import point_checks
from vmkeep.flows.digest_checks import check_digests
from vmkeep.flows.point_checks import Level, PointOutcome, VerifyRequest, refs_of, require_passed, verify, verify_each
from vmkeep.images import import_images
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository import create_repository
from vmkeep.repository.notes import uses

ALL = VerifyRequest(level=Level.ALL)


def outcome(result):
    """The outcome of a check: a result, or "unread" for one that could not be done."""
    if result == "unread":
        return PointOutcome(point="p", error=CorruptError("its manifest is damaged"))
    if result == "unkept":
        return PointOutcome(point="p", error=StoreFullError("no room"))
    return PointOutcome(point="p", proof=PointProof(kind=ProofKind.DIGESTS, result=ProofResult(result), at=now()))


@pytest.mark.parametrize(
    ("results", "error", "told"),
    [
        (["passed", "undecided", "unread", "failed"], VerificationError, "1 of 4 restore points did not pass"),
        (["passed", "undecided", "unread", "unread"], CorruptError, "2 restore points could not be checked: its m"),
        (["passed", "unread", "unkept"], CorruptError, "2 restore points could not be checked: its manifest is"),
        (["passed", "undecided", "unkept"], StoreFullError, "1 restore point could not be checked: no room"),
        (["passed", "undecided"], UndecidedError, "of 1 restore point the check cannot tell"),
    ],
)
def test_the_worst_outcome_is_the_one_of_all(results, error, told):
    for order in (results, results[::-1]):
        with pytest.raises(error, match=told):
            require_passed(map(outcome, order))
    require_passed([outcome("passed")] * 2)


@pytest.fixture
def kept(tmp_path):
    """A repository, and the ref of a point in it."""
    (tmp_path / "disk.raw").write_bytes(b"content" * 4096)
    repository = create_repository(str(tmp_path / "repo"))
    return repository, import_images(repository, [tmp_path / "disk.raw"], name="web").ref


def test_a_point_that_cannot_be_checked_keeps_no_other_from_it_and_each_is_told_when_it_is_done(kept):
    repository, ref = kept
    told = []

    outcomes = verify_each(repository, ["latest:gone", ref], ALL, by="jane", on_done=told.append)

    assert told == list(outcomes)
    assert [each.proof and each.proof.result for each in outcomes] == [None, ProofResult.PASSED]
    assert (outcomes[0].point, outcomes[1].point) == ("latest:gone", ref)
    assert "gone" in outcomes[0].problem


def test_a_person_who_stops_the_checks_stops_all_of_them(kept):
    repository, ref = kept
    asked = []

    def stop(label):
        asked.append(label)
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        verify_each(repository, [ref, ref], ALL, by="jane", bars=stop)
    assert len(asked) == 1
    assert not repository.proofs.of(ref)


def test_a_check_that_is_stopped_or_loses_its_point_leaves_no_proof_and_no_use(kept, monkeypatch):
    repository, ref = kept

    def read(*arguments, check, **options):
        check()  # as a read of a disk does each second
        return check_digests(*arguments, check=check, **options)

    monkeypatch.setattr(point_checks, "check_digests", read)

    def stop():
        raise CancelledError("stopped")

    def lose():
        monkeypatch.setattr(uses.OpenUse, "check", lambda use: stop())

    for check in (stop, lose):
        with pytest.raises(CancelledError):
            verify(repository, ref, ALL, by="jane", check=check)
    assert not repository.proofs.of(ref)
    assert not repository.uses.of(ref, time=now())


@pytest.mark.parametrize(
    ("level", "kind", "share"), [(Level.ALL, ProofKind.DIGESTS, 1.0), (Level.WRITTEN, ProofKind.WRITTEN, 0.25)]
)
def test_only_a_read_of_all_blocks_is_a_proof_of_all(kept, level, kind, share):
    repository, ref = kept

    proof = verify(repository, ref, VerifyRequest(level=level, sample=0.25), by="jane", run="r")

    assert (proof.kind, proof.details["share"], proof.by, proof.run) == (kind, share, "jane", "r")


def test_boot_tests_without_qemu_end_before_the_first_point(kept, monkeypatch):
    def missing():
        raise UnsupportedError("install qemu-system-x86")

    monkeypatch.setattr(point_checks, "find_qemu", missing)

    with pytest.raises(UnsupportedError, match="install"):
        verify_each(kept[0], [], VerifyRequest(level=Level.BOOT), by="jane")
    assert verify_each(kept[0], [], ALL, by="jane") == ()


def test_a_selector_that_fits_no_vm_is_no_success(kept):
    repository, ref = kept

    assert refs_of(repository, "name:web") == [ref]
    with pytest.raises(NotFoundError, match="fits 'name:db\\*'"):
        refs_of(repository, "name:db*")
