"""A second repository tells how its copies were proved, as far as that was about their content."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.sealed import store_file
from vmkeep.flows.copied_proofs import bring_proofs
from vmkeep.flows.pointcopy import copy_points
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.testing import MemoryStore

WHEN = datetime(2026, 11, 20, tzinfo=UTC)
BOOTED = PointProof(kind=ProofKind.BOOT, result=ProofResult.PASSED, at=WHEN, run="r1", text="a log-in prompt")


@pytest.fixture
def copied(make, point):
    """A repository with one point, another one with its copy, and the point's ref."""
    source, target = make(MemoryStore()), make(MemoryStore())
    root, _ = store_file(source, b"content" * 10_000, run="r")
    ref = source.seal(point(root))
    copy_points(source, target, [ref])
    return source, target, ref


def test_proofs_of_the_content_come_with_their_files_also_long_after_the_copy_and_once(copied):
    source, target, ref = copied
    source.proofs.add(ref, BOOTED, {"screen.png": b"picture"})
    source.proofs.add(ref, replace(BOOTED, kind=ProofKind.LVM, result=ProofResult.FAILED))

    copy_points(source, target, [])
    copy_points(source, target, [])

    there = {proof.kind: proof for proof in target.proofs.of(ref)}
    assert len(target.proofs.of(ref)) == len(there) == 3, "these two, and that the copy was read back"
    assert (there[ProofKind.BOOT].at, there[ProofKind.BOOT].repository) == (WHEN, source.id)
    assert target.proofs.file(there[ProofKind.BOOT], "screen.png") == b"picture"
    assert there[ProofKind.LVM].result is ProofResult.FAILED


def test_a_proof_of_the_sources_own_bytes_stays_with_them(copied):
    source, target, ref = copied
    for kind in (ProofKind.DIGESTS, ProofKind.WRITTEN, ProofKind.TARGET):
        source.proofs.add(ref, replace(BOOTED, kind=kind))

    copy_points(source, target, [])

    (own,) = target.proofs.of(ref)
    assert (own.kind, own.repository, own.details["share"]) == (ProofKind.WRITTEN, target.id, 0.05)


def test_proofs_that_the_copy_has_no_room_for_are_not_brought_again_and_again(copied):
    source, target, ref = copied
    for hours in range(3):
        source.proofs.add(ref, replace(BOOTED, at=WHEN + timedelta(hours=hours)))
        target.proofs.add(ref, replace(BOOTED, at=WHEN + timedelta(days=1, hours=hours)))
    before = {proof.id for proof in target.proofs.of(ref)}

    copy_points(source, target, [])

    assert {proof.id for proof in target.proofs.of(ref)} == before


def test_the_last_proof_of_a_vm_comes_although_its_point_is_gone(copied):
    source, target, ref = copied
    source.proofs.add(ref, replace(BOOTED, at=WHEN + timedelta(days=1)))
    source.proofs.forget(ref)

    copy_points(source, target, [])

    (of_vm,) = target.proofs.latest().values()
    assert of_vm[ProofKind.BOOT].at == WHEN + timedelta(days=1)


def test_another_point_under_the_name_of_a_proved_one_gets_no_proof_of_it(make, point):
    source, target = make(MemoryStore()), make(MemoryStore())
    refs = set()
    for repository, content in ((source, b"content"), (target, b"another")):
        root, _ = store_file(repository, content * 10_000, run="r")
        refs.add(repository.seal(point(root)))
    (ref,) = refs
    source.proofs.add(ref, BOOTED)

    bring_proofs(source, target)

    assert not target.proofs.of(ref)


def test_a_proof_whose_file_is_damaged_comes_without_it(copied, caplog):
    source, target, ref = copied
    source.proofs.add(ref, BOOTED, {"screen.png": b"picture", "serial.txt": b"log in:"})
    (picture,) = (blob.key for blob in source.blobs.list("proofs/") if blob.key.endswith("screen.png"))
    source.blobs.replace(picture, b"damaged")

    bring_proofs(source, target)

    (there,) = (proof for proof in target.proofs.of(ref) if proof.kind is ProofKind.BOOT)
    assert [*there.files] == ["serial.txt"]
    assert target.proofs.file(there, "serial.txt") == b"log in:"
    assert "a file of a proof stays behind" in caplog.text
