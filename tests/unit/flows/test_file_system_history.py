"""A lost file system is seen by the last check before that could tell, however far back, of the same VM only."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from vmkeep.flows.file_system_history import lost_file_systems
from vmkeep.images import import_images
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.repository import create_repository, point_id

DAY = timedelta(days=1)
BEGIN = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
ROOT = {"name": "disk0p1", "kind": "ext4", "uuid": "u-1"}
DATA = {"name": "disk0p2", "kind": "xfs", "uuid": "u-2"}


@pytest.fixture
def made(tmp_path):
    """A repository with four points of one VM, a day after the other."""
    (tmp_path / "disk.raw").write_bytes(bytes(4096))
    repository = create_repository(str(tmp_path / "repo"))
    first = import_images(repository, [tmp_path / "disk.raw"], name="web")
    points = []
    for number in range(4):
        run = f"run{number}"
        later = replace(first, id=point_id(run, first.vm.key), run=run, taken_at=BEGIN + number * DAY)
        repository.seal(later)
        points.append(later)
    return repository, points


def checked(repository, point, *volumes, result=ProofResult.PASSED):
    details = {"file_systems": list(volumes)}
    at = point.taken_at + timedelta(hours=1)
    repository.proofs.add(point.ref, PointProof(kind=ProofKind.FILE_SYSTEMS, result=result, at=at, details=details))


def lost(repository, point, *there):
    volumes = [SimpleNamespace(has_files=True, **each) for each in there]
    return [each.partition(" of ")[0] for each in lost_file_systems(repository, point, volumes)]


MISSED = "the xfs in disk0p2 (u-2)"


def test_points_that_nobody_checked_are_passed_over(made):
    repository, points = made
    checked(repository, points[0], ROOT, DATA)

    assert lost(repository, points[3], ROOT) == [MISSED]
    assert lost(repository, points[3], ROOT, DATA) == []


def test_a_check_that_failed_is_passed_over_because_it_saw_only_a_part(made):
    repository, points = made
    checked(repository, points[0], ROOT, DATA)
    checked(repository, points[1], ROOT, result=ProofResult.FAILED)

    assert lost(repository, points[2], ROOT) == [MISSED]


def test_a_loss_is_told_once(made):
    repository, points = made
    checked(repository, points[0], ROOT, DATA)
    checked(repository, points[1], ROOT, result=ProofResult.UNDECIDED)

    assert lost(repository, points[2], ROOT) == []


def test_of_two_clones_the_one_that_is_gone_is_named(made):
    repository, points = made
    clone = {**DATA, "uuid": ROOT["uuid"]}
    checked(repository, points[0], ROOT, clone)

    assert lost(repository, points[1], ROOT) == ["the xfs in disk0p2 (u-1)"]
    assert lost(repository, points[1], clone) == ["the ext4 in disk0p1 (u-1)"]


def test_a_check_of_another_vm_under_the_same_key_tells_nothing(made, monkeypatch):
    repository, points = made
    checked(repository, points[0], ROOT, DATA)
    monkeypatch.setattr("vmkeep.flows.file_system_history.same_vm", lambda earlier, point: earlier.run != "run0")

    assert lost(repository, points[3], ROOT) == []
