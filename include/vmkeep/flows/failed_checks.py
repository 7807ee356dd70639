"""Tells which restore points have failed a check. Names of proofs tell it, so that few proofs are read."""

from __future__ import annotations

from collections.abc import Collection

from vmkeep.flows.clean_points import ScanStates
from vmkeep.model.proofs import ProofKind, ProofResult
from vmkeep.repository import ProofName, Repository
from vmkeep.repository.points import blob_of_ref


class ListedProofs:
    """The proofs of all points, by one list of points and one of proofs."""

    def __init__(self, repository: Repository) -> None:
        refs = {blob_of_ref(ref): ref for ref in repository.point_refs()}
        names = list(repository.proofs.names())
        self.newest = _newest(names, refs)
        """The newest proof of each kind of each point, by ref and kind.

        A failure stays the newest one until a check of its kind passes, because a check that could not tell takes
        nothing back.
        """
        self.scans = ScanStates(repository, names=names)

    def failed(self) -> dict[str, tuple[ProofKind, ...]]:
        """Return the kinds of checks that points have failed, by ref; points that failed none are not in it.

        A point in which a find of malware counts has failed, also if a later scan of some files passed.
        """
        infected = self.scans.doubts(ref for ref, kind in self.newest if kind is ProofKind.MALWARE)
        failed: dict[str, tuple[ProofKind, ...]] = {}
        for (ref, kind), name in self.newest.items():
            if ref in infected if kind is ProofKind.MALWARE else name.result is ProofResult.FAILED:
                failed[ref] = (*failed.get(ref, ()), kind)
        return failed


def _newest(names: list[ProofName], refs: dict[str, str]) -> dict[tuple[str, ProofKind], ProofName]:
    newest: dict[tuple[str, ProofKind], ProofName] = {}
    for name in sorted(names, key=lambda each: each.at):
        if (ref := refs.get(name.manifest)) is None:
            continue
        known = newest.get((ref, name.kind))
        if known is None or known.result is not ProofResult.FAILED or name.result is not ProofResult.UNDECIDED:
            newest[ref, name.kind] = name
    return newest


def failed_checks(repository: Repository) -> dict[str, tuple[ProofKind, ...]]:
    """Return the kinds of checks that points have failed, by ref; see :meth:`ListedProofs.failed`."""
    return ListedProofs(repository).failed()


def bad_points(repository: Repository, failed: Collection[str] | None = None) -> set[str]:
    """Return the refs of points that are damaged or suspect, or have failed a check.

    :param failed: those that have failed one; ``None``: look for them.
    """
    marked = {ref for ref, marks in repository.marks.all().items() if not marks.good}
    return marked.union(failed_checks(repository) if failed is None else failed)
