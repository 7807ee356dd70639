"""The roots that keep frames alive: those of all restore points, and of points that are about to be sealed."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.blobs import BlobInfo, abreast
from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.maintenance.reachability import ReachedFrames
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository, require_visible
from vmkeep.repository.folders import POINTS
from vmkeep.repository.notes import note_of
from vmkeep.repository.points import PointName
from vmkeep.repository.sealing import handshake


class Roots:
    """The roots as they are now.

    Which manifests there are is listed anew each time. One that this process has read is not read again.

    Intents are read before manifests. An intent that is gone by then has become a manifest, or was given up.
    """

    def __init__(self, repository: Repository, *, without: frozenset[str] = frozenset()) -> None:
        """Read intents, then manifests.

        :param without: refs of points that will be forgotten.
        :raises CorruptError: an intent or a manifest cannot be read, so we do not know which blocks it needs. Or a
            point is gone although nobody forgot it, or somebody has hidden it in a bucket with locks: whoever removed
            points must not get us to delete their blocks for him.
        """
        self._repository = repository
        self.intended = [
            root for intent in handshake.intents(repository.blobs, repository.framer) for root in intent.roots
        ]
        noted = repository.sealed_notes.noted()
        listed = {blob.key: blob for blob in repository.blobs.list(POINTS)}
        there = list(repository.manifests.named(listed.values()))
        require_visible(repository.blobs, repository.descriptor.lock, POINTS)  # first: it names a better way back
        repository.sealed_notes.require(noted, {name.blob for name in there})
        names = [name for name in there if name.ref not in without]
        self._names = {name.ref for name in names}
        self._look = repository.manifests.facts.look(listed.values(), whole=True)
        found = abreast(repository.blobs, lambda name: self._of(name, listed[name.blob]), names)
        self.sealed = [root for roots in found for root in roots]

    def stand(self) -> bool:
        """Return whether no point was forgotten since then. The blocks of such a point may be gone by now."""
        return self._names <= {name.ref for name in self._repository.manifests.names()}

    def mark(self, reached: ReachedFrames) -> None:
        """Mark all frames that these roots reach, or fewer if the index was loaded before the roots."""
        reached.reach(self.sealed)
        reached.reach(self.intended, strict=False)

    def _of(self, name: PointName, blob: BlobInfo) -> Sequence[str]:
        """Return the roots of a point, from memory if this process has read its manifest before."""
        try:
            return self._look.at(blob, lambda: self._load(name)).roots
        except BlobNotFoundError:
            return ()  # forgotten since it was listed

    def _load(self, name: PointName) -> RestorePoint:
        try:
            return self._repository.manifests.load(name.blob)
        except CorruptError as error:
            if name.taken_at is None:  # a manifest under another name may be meant to come back
                raise CorruptError(f"{error}; until then nothing is deleted, because it may be a point") from error
            raise CorruptError(
                f"{error}; nothing is deleted, for what it needs is not known: copy that point back from another "
                f"repository, or delete its manifest and its note {note_of(name.blob)}"
            ) from error
