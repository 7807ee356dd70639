"""Find, show and pin restore points, and take suspicions off them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vmkeep.errors import UsageError
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Marks, Pin, Repository, Trust

__all__ = ["Marks", "ShownPoint", "find_ref", "pin", "show", "trust", "unpin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPoint:
    """A restore point with its marks, which were made after its seal."""

    point: RestorePoint
    marks: Marks


def find_ref(repository: Repository, text: str) -> str:
    """Return the ref of the point that a person means. A manifest is read only for ``latest``, as it may be damaged.

    :raises NotFoundError: no point fits.
    :raises AmbiguousError: several points fit.
    """
    if "/" in text and text in repository.point_refs(text.rpartition("/")[0]):
        return text
    return repository.find_ref(text)


def show(repository: Repository, text: str) -> ShownPoint:
    """Return the point that a person means, with its marks."""
    found = repository.find_point(text)
    return ShownPoint(point=found, marks=repository.marks.of(found.ref))


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
