"""Notes of sealed points: what they say is held against what is there, and those that are missing are put.

Missing are those of programs that made none, and of seals that could not put theirs. See
:mod:`vmkeep.repository.notes.sealednotes`.
"""

from __future__ import annotations

from vmkeep.blobs import abreast
from vmkeep.repository import Repository, require_visible
from vmkeep.repository.folders import POINTS
from vmkeep.repository.points import ReadPoint


def require_points(repository: Repository) -> None:
    """Return if every point is there that was sealed and that nobody forgot.

    :raises CorruptError: some are gone, or in a bucket with locks somebody has hidden some.
    """
    require_visible(repository.blobs, repository.descriptor.lock, POINTS)
    repository.sealed_notes.require_all()


def note_points(repository: Repository) -> None:
    """Put a note of every point that has none, as far as the store lets us.

    A point whose manifest cannot be read gets none: no prune deletes anything beside it anyway.
    """
    noted = repository.sealed_notes.noted()
    bare = [name for name in repository.manifests.names() if name.blob not in noted and name.taken_at is not None]

    def note(read: ReadPoint) -> bool:
        return read.point is None or repository.sealed_notes.try_to_remember(read.name.blob, read.point.vm.name)

    for done in abreast(repository.blobs, note, repository.manifests.read(bare)):
        if not done:
            return  # the others would fail as well
