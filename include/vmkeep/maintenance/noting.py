"""Compares the notes of sealed points with the manifests that are there, and puts notes that are missing.

A note is missing if the program that sealed the point wrote none yet, or if the seal could not store it. See
:mod:`vmkeep.repository.notes.sealednotes`.
"""

from __future__ import annotations

from vmkeep.blobs import abreast
from vmkeep.repository import Repository, require_visible
from vmkeep.repository.folders import POINTS
from vmkeep.repository.points import ReadPoint


def require_points(repository: Repository) -> None:
    """Return if every point is there that was sealed and not forgotten.

    :raises CorruptError: points are gone, or somebody has hidden some in a bucket with locks.
    """
    require_visible(repository.blobs, repository.descriptor.lock, POINTS)
    repository.sealed_notes.require_all()


def note_points(repository: Repository) -> None:
    """Put a note for every point that has none, as far as the store allows.

    A point with an unreadable manifest gets no note. While it is unreadable, no prune deletes any pack anyway.
    """
    noted = repository.sealed_notes.noted()
    bare = [name for name in repository.manifests.names() if name.blob not in noted and name.taken_at is not None]

    def note(read: ReadPoint) -> bool:
        return read.point is None or repository.sealed_notes.try_to_remember(read.name.blob, read.point.vm.name)

    for done in abreast(repository.blobs, note, repository.manifests.read(bare)):
        if not done:
            return  # the others would fail as well
