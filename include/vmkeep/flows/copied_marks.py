"""Brings the doubts about restore points, and the ends of doubts, to the repository that has copies of the points.

An audit may find a lie weeks after the points were copied, so the marks of all points that both repositories have are
looked at, also of those that a copy leaves out.
"""

from __future__ import annotations

from contextlib import suppress

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Marks, Repository, find_twin


def bring_marks(source: Repository, target: Repository) -> None:
    """Bring the marks of every point that both repositories have. A point that cannot be read is left out."""
    for ref, marks in source.marks.all().items():
        if marks.suspicion is None and marks.trust is None:
            continue
        with suppress(NotFoundError, CorruptError):
            bring_marks_of(source.load_point(ref), marks, source, target)


def bring_marks_of(point: RestorePoint, marks: Marks, source: Repository, target: Repository) -> None:
    """Bring the marks of one point, if the target has it, too."""
    twin = find_twin(point, source, target)
    if twin is not None:
        with suppress(NotFoundError):  # the point was removed from the target meanwhile
            target.marks.take_over(twin.ref, marks)
