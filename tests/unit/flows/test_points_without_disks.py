"""A point from which every disk was left out is not called good, because nobody has looked at any data of its VM."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.quality_world import disk, point
from vmkeep.flows.copy_values import Verify
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
from vmkeep.flows.point_checks import Level, VerifyRequest, verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.model.disk import SkipReason
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import Repository, create_repository


@pytest.fixture
def repository(tmp_path) -> Repository:
    return create_repository(str(tmp_path / "repository"))


def sealed(repository: Repository, key: str) -> str:
    usual = point("app", 0)
    empty = replace(usual, vm=replace(usual.vm, key=key), images=(), skipped=(disk(2000, skip=SkipReason.INDEPENDENT),))
    repository.seal(empty)
    return empty.ref


@pytest.mark.parametrize("level", [Level.WRITTEN, Level.ALL, Level.FILE_SYSTEMS])
def test_no_check_passes_a_point_without_a_disk(repository, level):
    proof = verify(repository, sealed(repository, "key-app"), VerifyRequest(level=level), by="somebody")

    assert proof.result is ProofResult.UNDECIDED
    assert repository.proofs.latest() == {}


def test_the_volume_groups_of_no_disk_are_not_consistent(repository):
    ref = sealed(repository, "key-app")

    check_lvm(repository, LvmRequest(record=True), by="somebody")

    (proof,) = repository.proofs.of(ref)
    assert (proof.kind, proof.result) == (ProofKind.LVM, ProofResult.UNDECIDED)


def test_the_point_of_a_host_has_saved_files_only_and_is_read_back_by_them(repository):
    ref = sealed(repository, "host-1")

    assert verify(repository, ref, VerifyRequest(level=Level.ALL), by="somebody").passed


def test_a_copy_of_a_point_without_a_disk_is_not_proved_by_its_read_back(repository, tmp_path):
    ref, there = sealed(repository, "key-app"), create_repository(str(tmp_path / "copies"))

    copy_points(repository, there, [ref], verify=Verify.ALL)

    assert [(proof.kind, proof.result) for proof in there.proofs.of(ref)] == [
        (ProofKind.DIGESTS, ProofResult.UNDECIDED)
    ]
