"""Tells which restore points have failed a check. Names of proofs tell it, so that few proofs are read."""

from __future__ import annotations

from typing import TypeAlias

from vmkeep.flows.clean_points import ScanStates
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import ProofName, Repository
from vmkeep.repository.points import blob_of_ref

NewestProofs: TypeAlias = dict[tuple[str, ProofKind], ProofName]


def newest_proofs(repository: Repository) -> NewestProofs:
    """Return the newest proof of each kind of each point, by ref and kind.

    A failure stays the newest one until a check of its kind passes, because a check that could not tell takes nothing
    back.
    """
    refs = {blob_of_ref(ref): ref for ref in repository.point_refs()}
    newest: dict[tuple[str, ProofKind], ProofName] = {}
    for name in sorted(repository.proofs.names(), key=lambda each: each.at):
        if (ref := refs.get(name.manifest)) is None:
            continue
        known = newest.get((ref, name.kind))
        if known is None or known.result is not ProofResult.FAILED or name.result is not ProofResult.UNDECIDED:
            newest[ref, name.kind] = name
    return newest


def failed_checks(repository: Repository, newest: NewestProofs | None = None) -> dict[str, tuple[ProofKind, ...]]:
    """Return the kinds of checks that points have failed, by ref; points that failed none are not in it.

    A point in which a find of malware counts has failed, also if a later scan of some files passed.

    :param newest: the newest proofs, if the caller has listed them.
    """
    newest = newest_proofs(repository) if newest is None else newest
    infected = ScanStates(repository).doubts(ref for ref, kind in newest if kind is ProofKind.MALWARE)
    failed: dict[str, tuple[ProofKind, ...]] = {}
    for (ref, kind), name in newest.items():
        if ref in infected if kind is ProofKind.MALWARE else name.result is ProofResult.FAILED:
            failed[ref] = (*failed.get(ref, ()), kind)
    return failed


def bad_points(repository: Repository) -> set[str]:
    """Return the refs of points that are damaged or suspect, or have failed a check."""
    marked = {ref for ref, marks in repository.marks.all().items() if not marks.good}
    return marked | failed_checks(repository).keys()
