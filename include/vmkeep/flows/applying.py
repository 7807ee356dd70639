"""Puts another point of a VM onto an export of it: the step of a warm move."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from vmkeep.errors import ConflictError
from vmkeep.flows import points
from vmkeep.flows.point_doubts import about_content, about_doubts
from vmkeep.images import AppliedDisk, AppliedPoint, apply_point
from vmkeep.model.job import Progress
from vmkeep.model.overwrite import Verify
from vmkeep.repository import Repository

__all__ = ["AppliedDisk", "AppliedPoint", "apply"]

log = logging.getLogger(__name__)


def apply(
    repository: Repository,
    text: str,
    path: Path,
    *,
    dry_run: bool = False,
    force: bool = False,
    verify: Verify = Verify.SAMPLE,
    on_progress: Callable[[str], Callable[[Progress], None]],
    tell: Callable[[str], None] = log.warning,
) -> AppliedPoint:
    """Write the blocks in which a point differs from an export's images; see :func:`vmkeep.images.apply_point`.

    :param text: a ref, the unique beginning of an id, or ``latest:VM``.
    :param path: the export's manifest, or one of its images.
    :param force: also put a point onto the images that is marked damaged or suspect.
    :param tell: takes each warning about the point, before anything is written.
    :raises ConflictError: the point is marked so.
    """
    point = repository.find_point(text)
    doubts = tuple(about_doubts(repository, point, work="apply"))
    if doubts and not dry_run and not force:
        raise ConflictError(f"{doubts[0]}; nothing was written: to put it onto good images all the same, --force")
    warnings = about_content(repository, point, work="apply")
    for warning in warnings:
        tell(warning)
    if dry_run:
        return apply_point(
            repository, point, path, dry_run=True, verify=verify, warnings=warnings, on_progress=on_progress
        )
    with points.use(repository, point.ref, doing="applying") as use:
        return apply_point(
            repository, point, path, verify=verify, warnings=warnings, on_progress=on_progress, check=use.check
        )
