"""Rows of the use of one point, and of looks at all of them, while others are there."""

from __future__ import annotations

from pathlib import Path

from bench.growth.stock import POINTS_OF_A_VM, Counts, calls_of, catalog, filled
from vmkeep.flows.check_values import Level
from vmkeep.flows.point_checks import VerifyRequest, verify
from vmkeep.flows.pointcopy import copy_points
from vmkeep.flows.quality import check_quality
from vmkeep.images import export_image
from vmkeep.repository import Repository, create_repository


def one_point(folder: Path, points: int) -> Counts:
    """One point is read in full, written to a file and copied to a new repository, while others are there."""
    ref = filled(folder, points // POINTS_OF_A_VM)[0]
    verified = VerifyRequest(level=Level.ALL)
    return {
        "calls of a verify": calls_of(folder, lambda repository: verify(repository, ref, verified, by="bench")),
        "calls of an export": calls_of(folder, lambda repository: _exported(folder, repository, ref)),
        "calls of a copy": calls_of(folder, lambda repository: _copied(folder, repository, ref)),
    }


def _exported(folder: Path, repository: Repository, ref: str) -> None:
    export_image(repository, repository.load_point(ref), 0, folder / "out.raw")


def _copied(folder: Path, source: Repository, ref: str) -> None:
    with create_repository(str(folder / "second")) as target:
        assert not copy_points(source, target, [ref]).failed


def quality(folder: Path, points: int) -> Counts:
    """The data quality of a repository is checked for the second time. No vCenter and no policy is asked."""
    filled(folder, points // POINTS_OF_A_VM)
    for _ in range(2):
        asked = calls_of(folder, lambda repository: check_quality(repository, [], [], catalog=catalog(folder)))
    return {"calls": asked}
