"""Deletes the manifests of points that a rule or a person gives up, except those that get pinned or used meanwhile.

Pins and uses are respected because of the order of the calls: record, look at pins and uses, decide, delete. In the
same order two deletions see each other, so no VM loses its last good point to both of them. Decision 0008 gives the
reasons.

Several points are deleted at the same time, each in the same order of calls. The point's note
(:mod:`vmkeep.repository.notes.sealednotes`) is deleted before the manifest, so a crash never leaves the note of a point
that is gone. The note is deleted again after the manifest, because a seal may have put it in between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vmkeep.blobs import abreast
from vmkeep.clock import now
from vmkeep.errors import LockedError, StaleError, StoreFullError
from vmkeep.maintenance.facts import point_facts
from vmkeep.maintenance.storetime import store_time
from vmkeep.model.selector import shown_name
from vmkeep.repository import Marks, Repository, used_words
from vmkeep.repository.points import blob_of_ref
from vmkeep.retention import left_bare

_TRIES = 3
PINNED = "pinned"
"""Why a point stays."""


def forget(
    repository: Repository, refs: Sequence[str], *, bare: Collection[str] = (), whole: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Delete points. Return the refs of the deleted ones, and for each one that stays, ref → reason.

    :param bare: keys of the VMs that are meant to have no good point left. All points of other VMs stay that would.
    :param whole: rather than keep the points of some VMs so, delete nothing.
    :raises StaleError: ``whole``, and a VM would have no good point left.
    """
    kept: dict[str, str] = {}
    for _ in range(_TRIES):
        going = [ref for ref in refs if ref not in kept]
        if not going:
            return [], kept
        record = repository.forgettings.begin(going)
        marks = repository.marks.of_vms(set(map(_vm_key, going)))
        kept |= dict.fromkeys(_pinned(marks).intersection(going), PINNED)
        kept |= _used(repository, [ref for ref in going if ref not in kept])
        wanted = [ref for ref in going if ref not in kept]
        last = _last_ones(repository, wanted, record, bare, marks)
        if last and whole:
            repository.forgettings.end(record)
            raise StaleError(
                f"{'; '.join(dict.fromkeys(last.values()))}: nothing was deleted; try again, or add --last"
            )
        kept |= last
        wanted = [ref for ref in wanted if ref not in last]
        if len(_decided(repository, record, wanted)) == len(wanted):
            stay = _delete_all(repository, wanted)
            repository.forgettings.end(record)
            return [ref for ref in wanted if ref not in stay], kept | stay
        repository.forgettings.end(record)  # a point was pinned or used after our record was put: look again
    return [], kept | dict.fromkeys(
        going, "points were pinned or used again and again meanwhile; the next prune decides"
    )


def _decided(repository: Repository, record: str, wanted: Sequence[str]) -> frozenset[str]:
    """Return the points that are deleted by the decision of our record, which ends if there is no room to decide."""
    try:
        return repository.forgettings.decide(record, wanted)
    except StoreFullError:
        repository.forgettings.end(record)
        raise


def _last_ones(
    repository: Repository, going: Sequence[str], record: str, meant: Collection[str], marks: Mapping[str, Marks]
) -> dict[str, str]:
    """Return the points of VMs that would have no good point left though nobody means that, ref → reason.

    Call it after the record was put. The records of others are read before the points, because one that ends in
    between has deleted its points.

    :param marks: the marks of these VMs' points, read after the record was put.
    """
    repository.forgettings.give_up_old(record)
    claims = repository.forgettings.claims(besides=record)
    points = point_facts(repository, at=now(), vm_keys=set(map(_vm_key, going)), marks=marks)
    reasons = {
        point.vm_key: f"no good restore point would be left of {shown_name(point.vm_name or point.vm_key)}: "
        "its others are damaged or gone, or somebody else deletes them now"
        for point in left_bare(points, going=set(going), claimed=claims)
        if point.vm_key not in meant
    }
    return {ref: reasons[_vm_key(ref)] for ref in going if _vm_key(ref) in reasons}


def _vm_key(ref: str) -> str:
    return ref.rpartition("/")[0]


def _pinned(marks: Mapping[str, Marks]) -> set[str]:
    at = now()
    return {ref for ref, of_point in marks.items() if of_point.pin is not None and of_point.pin.holds(at)}


def _used(repository: Repository, refs: Sequence[str]) -> dict[str, str]:
    """Return those of some points that a process reads now, ref → reason."""
    uses = repository.uses.all(time=store_time(repository.blobs))
    return {ref: used_words(found) for ref in refs if (found := uses.get(blob_of_ref(ref)))}


def _delete_all(repository: Repository, refs: Sequence[str]) -> dict[str, str]:
    """Delete points, several at a time. Return those that stay, ref → reason."""
    reasons = abreast(repository.blobs, lambda ref: _delete(repository, ref), refs)
    return {ref: reason for ref, reason in zip(refs, reasons, strict=True) if reason}


def _delete(repository: Repository, ref: str) -> str:
    """Delete one point, and then what was kept beside it. Return the reason why it stays, or an empty text."""
    if repository.marks.is_pinned(ref, at=now()):  # pinned by a program that does not look at our record
        return PINNED
    manifest = blob_of_ref(ref)
    repository.sealed_notes.forget(manifest)
    try:
        repository.blobs.delete(manifest)
    except LockedError as error:
        return str(error)
    repository.sealed_notes.forget(manifest)
    repository.marks.forget(ref)
    repository.proofs.forget(ref)
    repository.uses.forget(ref)
    repository.file_lists.forget(ref)
    return ""
