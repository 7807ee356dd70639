"""Twins: one restore point in two repositories.

A copied point keeps its id, time and VM. Its run names the repository of its origin: ``copy:<repository id>:<run>``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmkeep.errors import NotFoundError
from vmkeep.model.point import RestorePoint
from vmkeep.repository.frames import Kind
from vmkeep.repository.points import blob_of_ref

if TYPE_CHECKING:
    from vmkeep.repository.repository import Repository

_PREFIX = "copy:"
_PROBE = b"vmkeep"


def share_digests(one: Repository, other: Repository) -> bool:
    """Return whether equal content has equal digests in both repositories."""
    return one.framer.digester.of(Kind.BLOCK, _PROBE) == other.framer.digester.of(Kind.BLOCK, _PROBE)


def copied_run(point: RestorePoint, repository: Repository) -> str:
    """Return the run that copies of a point have in any repository."""
    return point.run if point.run.startswith(_PREFIX) else f"{_PREFIX}{repository.id}:{point.run}"


def find_twin(point: RestorePoint, here: Repository, there: Repository) -> RestorePoint | None:
    """Return the twin of a point in another repository: its copy or its original; ``None``: there is none.

    :raises CorruptError: the twin's manifest is damaged.
    """
    if blob_of_ref(point.ref) not in (name.blob for name in there.manifests.names(point.vm.key)):
        return None
    try:
        twin = there.load_point(point.ref)
    except NotFoundError:
        return None  # the twin was removed after the listing
    return twin if copied_run(twin, there) == copied_run(point, here) else None
