"""Find, show, pin and use restore points, and take suspicions off them."""

from __future__ import annotations

from datetime import datetime

from vmkeep.clock import now
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.flows.clean_points import ScanState, ScanStates
from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PICTURE, PointProof
from vmkeep.repository import Marks, OpenUse, Pin, Repository, Trust, Use

__all__ = ["Marks", "ShownPoint", "Use", "find_ref", "picture", "pin", "show", "trust", "unpin", "use"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPoint:
    """A restore point with its marks and proofs, which were made after its seal, and the processes that read it now."""

    point: RestorePoint
    marks: Marks
    scan: ScanState
    """The word of its malware scans."""
    uses: tuple[Use, ...] = ()
    proofs: tuple[PointProof, ...] = ()
    """The outcomes of checks, the newest first."""


def find_ref(repository: Repository, text: str) -> str:
    """Return the ref of the point that a person means. A manifest is read only for ``latest``, as it may be damaged.

    :raises NotFoundError: no point fits.
    :raises AmbiguousError: several points fit.
    """
    if "/" in text and text in repository.point_refs(text.rpartition("/")[0]):
        return text
    return repository.find_ref(text)


def show(repository: Repository, text: str) -> ShownPoint:
    """Return the point that a person means, with its marks, proofs and uses."""
    found = repository.find_point(text)
    return ShownPoint(
        point=found,
        marks=repository.marks.of(found.ref),
        uses=repository.uses.of(found.ref, time=now()),
        proofs=repository.proofs.of(found.ref),
        scan=ScanStates(repository, found.vm.key).of(found.ref),
    )


def picture(repository: Repository, text: str) -> tuple[PointProof, bytes]:
    """Return the newest proof of a point that has a picture of the screen, and the picture (PNG).

    :raises NotFoundError: there is no such point, or it has no picture.
    :raises CorruptError: the picture is damaged.
    """
    ref = find_ref(repository, text)
    proof = next((proof for proof in repository.proofs.of(ref) if PICTURE in proof.files), None)
    if proof is None:
        raise NotFoundError(
            f"restore point {ref} has no picture of a screen: 'vmkeep point verify {ref} --level boot' makes one"
        )
    return proof, repository.proofs.file(proof, PICTURE)


def use(repository: Repository, ref: str, *, doing: str) -> OpenUse:
    """Return a use of a point, as a context manager: until it is left, nobody deletes the point.

    The reader calls the result's ``check`` from time to time, because a process that stands still for ten minutes loses
    the point's protection. If the store takes no note, the use begins all the same, with a warning.

    :param ref: a full ref.
    :param doing: what this process does with the point, for people, e.g. ``serving``.
    """
    return repository.uses.open(ref, doing=doing)


def pin(repository: Repository, text: str, *, reason: str, by: str, until: datetime | None) -> tuple[str, Pin]:
    """Pin a point; return its ref and the pin."""
    ref = find_ref(repository, text)
    return ref, repository.marks.pin(ref, reason=reason, by=by, until=until)


def unpin(repository: Repository, text: str) -> tuple[str, bool]:
    """Take the pin off a point; return its ref, and whether it was pinned."""
    ref = find_ref(repository, text)
    return ref, repository.marks.unpin(ref)


def trust(repository: Repository, text: str, *, reason: str, by: str) -> tuple[str, Trust | None]:
    """Take the suspicion off a point; return its ref, and the mark that keeps the reason, if it was suspect.

    :raises UsageError: there is no reason, so that nobody could tell later why the point may be trusted.
    """
    if not reason.strip():
        raise UsageError("give the reason why the point may be trusted, e.g. --reason 'compared with the guest'")
    ref = find_ref(repository, text)
    return ref, repository.marks.trust(ref, reason=reason.strip(), by=by)
