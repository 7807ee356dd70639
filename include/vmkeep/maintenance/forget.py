"""Deletes the manifests of the points that a rule or a person gives up, except points that get pinned meanwhile.

A pin is respected because of the order of the calls: record, look at pins, decide, delete. Decision 0008 gives the
reasons. The point's note (:mod:`vmkeep.repository.notes.sealednotes`) is deleted before the manifest, so a crash never
leaves the note of a point that is gone. The note is deleted again after the manifest, because a seal may have put it in
between.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.clock import now
from vmkeep.errors import LockedError
from vmkeep.repository import Repository
from vmkeep.repository.points import blob_of_ref

_TRIES = 3
PINNED = "pinned"
"""Why a point stays."""


def forget(repository: Repository, refs: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Delete points. Return the refs of the deleted ones, and for each one that stays, ref → reason."""
    kept: dict[str, str] = {}
    for _ in range(_TRIES):
        going = [ref for ref in refs if ref not in kept]
        if not going:
            return [], kept
        record = repository.forgettings.begin(going)
        pinned = _pinned(repository)
        wanted = [ref for ref in going if ref not in pinned]
        kept |= dict.fromkeys(set(going) - set(wanted), PINNED)
        if len(repository.forgettings.decide(record, wanted)) == len(wanted):
            gone = [ref for ref in wanted if _delete(repository, ref, kept)]
            repository.forgettings.end(record)
            return gone, kept
        repository.forgettings.end(record)  # a point was pinned after our record was put: look again
    return [], kept | dict.fromkeys(going, "points were pinned again and again meanwhile; the next prune decides")


def _pinned(repository: Repository) -> set[str]:
    at = now()
    return {ref for ref, marks in repository.marks.all().items() if marks.pin is not None and marks.pin.holds(at)}


def _delete(repository: Repository, ref: str, kept: dict[str, str]) -> bool:
    if repository.marks.is_pinned(ref, at=now()):  # pinned by a program that does not look at our record
        kept[ref] = PINNED
        return False
    manifest = blob_of_ref(ref)
    repository.sealed_notes.forget(manifest)
    try:
        repository.blobs.delete(manifest)
    except LockedError as error:
        kept[ref] = str(error)
        return False
    repository.sealed_notes.forget(manifest)
    repository.marks.forget(ref)
    return True
