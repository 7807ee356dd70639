"""A note of every sealed point, outside ``points/``. It tells points that were forgotten from points that are lost.

    sealed/<vm>/<point>   put once the manifest stands: JSON ``{"point": <folder>/<name>, "vm": <name>}``

If somebody moved the folder ``points/`` away, the repository would look as if it had no points, and a prune would
delete all packs. So a process that forgets a point removes its note before the manifest. If a note stands without its
manifest, somebody else has removed the point. A missing note proves nothing: older programs made none, a process may
have died between the manifest and the note, or the store had no room for it. Decision 0019 has the reasoning.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from itertools import islice

from vmkeep.blobs import BlobStore, abreast, is_there
from vmkeep.errors import BlobNotFoundError, ConflictError, CorruptError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.wording import counted
from vmkeep.repository.folders import POINTS, SEALED
from vmkeep.repository.frames import Framer, Kind
from vmkeep.repository.notes.tries import note_fields
from vmkeep.repository.points import parse_key

_SHOWN = 3
"""Number of VMs that an error names."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GonePoints:
    """Points of one VM that were sealed and are gone, although no prune forgot them."""

    vm_name: str
    folder: str
    """The VM's folder, below ``points/`` and below ``sealed/``."""
    names: tuple[str, ...]
    """The names of the points in that folder, in the order of their times."""

    @property
    def finding(self) -> str:
        """The text of a check's finding, in one line."""
        which = " to ".join(dict.fromkeys((self.names[0], self.names[-1])))
        return (
            f"points of VM '{self.vm_name}' were sealed here and are gone, though no prune forgot them: "
            f"{counted(len(self.names), 'point')} ({which}); put points/ back, or if they were removed on purpose, "
            f"delete their keys below {SEALED}{self.folder}/"
        )


class SealedNotes:
    """The notes of one repository's sealed points. Thread-safe."""

    def __init__(self, store: BlobStore, framer: Framer) -> None:
        self._store = store
        self._framer = framer

    def remember(self, manifest: str, vm_name: str) -> None:
        """Note that a point is sealed. Call this once its manifest stands; it may be called again.

        After the note is put, this looks for the manifest once more. A process that forgets the point meanwhile removes
        the note again after the manifest. So one of the two sees the other, and no note stays without its point.

        :param manifest: the blob key of the point's manifest.
        """
        key = note_of(manifest)
        content = json.dumps({"point": manifest.removeprefix(POINTS), "vm": vm_name}).encode()
        with suppress(ConflictError):  # the note exists; encryption gives it other bytes each time
            self._store.put(key, self._framer.wrap(Kind.NOTE, content, name=key))
        if not is_there(self._store, manifest):
            self._store.delete(key)

    def try_to_remember(self, manifest: str, vm_name: str) -> bool:
        """Note that a point is sealed; return whether the store took the note. The point is sealed in any case."""
        try:
            self.remember(manifest, vm_name)
        except VmKeepError as error:
            log.warning(
                "%s: %s is sealed, but no note of it can be stored: until the next prune puts one, nobody would notice "
                "that somebody removes the point by hand (%s)",
                self._store.location,
                manifest,
                error,
            )
            return False
        return True

    def forget(self, manifest: str) -> None:
        """Remove the note of a point. Call this before its manifest is deleted, and again after that."""
        self._store.delete(note_of(manifest))

    def load(self, manifest: str) -> str:
        """Return the VM's name from the note of a point.

        :raises BlobNotFoundError: the point has no note.
        :raises CorruptError: the note is damaged, or another point's. No restore needs it.
        """
        try:
            fields = note_fields(self._store, self._framer, note_of(manifest))
            if fields.get("point") != manifest.removeprefix(POINTS):
                raise CorruptError("it is another point's note")
        except CorruptError as error:
            raise CorruptError(f"{error}; delete it: if the point is there, the next prune puts a new one") from error
        return str(fields.get("vm", ""))

    def noted(self) -> frozenset[str]:
        """List the notes and return the keys of their manifests. List manifests only after this."""
        return frozenset(POINTS + blob.key.removeprefix(SEALED) for blob in self._store.list(SEALED))

    def gone(self, noted: Collection[str], there: Collection[str]) -> tuple[GonePoints, ...]:
        """Return the points that something other than a prune removed.

        A point that seems to be gone is looked for once more, because a prune may have removed its note and then its
        manifest between the two listings.

        :param noted: the result of :meth:`noted`.
        :param there: the keys of the manifests, listed after that.
        """

        def described(of_vm: tuple[str, list[str]]) -> GonePoints:
            folder, names = of_vm
            return GonePoints(vm_name=self._vm_name(folder, names[0]), folder=folder, names=tuple(names))

        return tuple(abreast(self._store, described, self._gone_by(frozenset(noted), there).items()))

    def require(self, noted: Collection[str], there: Collection[str]) -> None:
        """Return if no points are gone; see :meth:`gone`.

        :raises CorruptError: points are gone. A prune that knew only the others would delete the blocks of these.
        """
        if not (gone := self._gone_by(frozenset(noted), there)):
            return
        shown = ", ".join(self._shown(folder, names) for folder, names in islice(gone.items(), _SHOWN))
        more = f" and {len(gone) - _SHOWN} more" if len(gone) > _SHOWN else ""
        raise CorruptError(
            f"{self._store.location}: points of {counted(len(gone), 'VM')} were sealed here and are gone, though no "
            f"prune forgot them: {shown}{more}; nothing is deleted: put points/ back, or if they were removed on "
            f"purpose, delete their keys below {SEALED} ('vmkeep repo check' lists all)"
        )

    def require_all(self) -> None:
        """Return if no points are gone, according to listings made now.

        :raises CorruptError: see :meth:`require`.
        """
        noted = self.noted()
        self.require(noted, self._manifests())

    def _manifests(self) -> frozenset[str]:
        return frozenset(blob.key for blob in self._store.list(POINTS))

    def _gone_by(self, noted: frozenset[str], there: Collection[str]) -> Mapping[str, list[str]]:
        """Return the names of the points that are gone, by the VM's folder."""
        gone = {manifest for manifest in noted.difference(there) if parse_key(manifest).taken_at is not None}
        if gone:
            gone &= self.noted()
            gone -= self._manifests()
        by_folder: dict[str, list[str]] = {}
        for manifest in sorted(gone):
            folder, _, name = manifest.removeprefix(POINTS).partition("/")
            by_folder.setdefault(folder, []).append(name)
        return by_folder

    def _shown(self, folder: str, names: list[str]) -> str:
        return f"'{self._vm_name(folder, names[0])}' ({counted(len(names), 'point')}, {SEALED}{folder}/)"

    def _vm_name(self, folder: str, name: str) -> str:
        """Return the VM's name from the note of a point; if that cannot be read, the VM's key."""
        manifest = f"{POINTS}{folder}/{name}"
        with suppress(BlobNotFoundError, CorruptError):
            if vm_name := self.load(manifest):
                return vm_name
        return parse_key(manifest).vm_key


def note_of(manifest: str) -> str:
    """Return the key of the note of a manifest."""
    return SEALED + manifest.removeprefix(POINTS)
