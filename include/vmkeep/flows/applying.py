"""Puts another point of a VM onto an export of it: the step of a warm move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vmkeep.flows import points
from vmkeep.images import AppliedDisk, AppliedPoint, apply_point
from vmkeep.model.job import Progress
from vmkeep.model.overwrite import Verify
from vmkeep.repository import Repository

__all__ = ["AppliedDisk", "AppliedPoint", "apply"]


def apply(
    repository: Repository,
    text: str,
    path: Path,
    *,
    dry_run: bool = False,
    verify: Verify = Verify.SAMPLE,
    on_progress: Callable[[str], Callable[[Progress], None]],
) -> AppliedPoint:
    """Write the blocks in which a point differs from an export's images; see :func:`vmkeep.images.apply_point`.

    :param text: a ref, the unique beginning of an id, or ``latest:VM``.
    :param path: the export's manifest, or one of its images.
    """
    point = repository.find_point(text)
    if dry_run:
        return apply_point(repository, point, path, dry_run=True, verify=verify, on_progress=on_progress)
    with points.use(repository, point.ref, doing="applying") as use:
        return apply_point(repository, point, path, verify=verify, on_progress=on_progress, check=use.check)
