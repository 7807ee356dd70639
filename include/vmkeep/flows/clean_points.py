"""Tells which restore points are clean by their malware scans, and which is the last clean one of a VM.

A point is clean if its newest scan that could tell looked at all of it and found nothing, or if that scan looked at
the files that differ from an older point which was clean by then. The proof names the chain of older points on which it
stands. If a later scan finds malware in one of them, the point is in doubt, because the file may be in it unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanning import ScanScope
from vmkeep.repository import Repository
from vmkeep.repository.points import blob_of_ref, is_ahead

_NEVER: Final = (datetime.min.replace(tzinfo=UTC), ProofResult.UNDECIDED)


class Cleanness(StrEnum):
    """The word of the scans about a point."""

    CLEAN = "clean"
    FOUND = "malware"
    """The newest scan found malware in it."""
    BASED = "in doubt"
    """Its own scan found nothing in the changed files, but it shares the others with a point that has malware."""
    UNDECIDED = "undecided"
    """A part of it could not be scanned, or only a part was."""
    UNSCANNED = "not scanned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanState:
    """A point, and the word of its scans."""

    point: str
    """Ref."""
    cleanness: Cleanness
    taken_at: datetime | None = None
    scanned_at: datetime | None = None
    text: str = ""
    """The outcome of the newest scan in one sentence."""
    whole_at: datetime | None = None
    """The time of the scan of all files on which a clean point stands, maybe that of an older point."""
    chain: tuple[str, ...] = ()
    """Refs of the older points on which a scan of changed files stands, the newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastClean:
    """The last clean point of a VM, and the points after it."""

    clean: ScanState | None
    """``None``: no point of the VM is known to be clean."""
    newer: tuple[ScanState, ...] = ()
    """The points after it, the newest first."""


class ScanStates:
    """The states of the points of a repository, or of one VM. One list of names tells most; few proofs are read."""

    def __init__(self, repository: Repository, vm_key: str | None = None) -> None:
        self._repository = repository
        self._newest: dict[str, tuple[datetime, ProofResult]] = {}
        """Time and result of the newest scan, by the blob key of the point's manifest."""
        for name in repository.proofs.names(vm_key):
            if name.kind is ProofKind.MALWARE:
                before = self._newest.get(name.manifest, _NEVER)
                self._newest[name.manifest] = max(before, (name.at, name.result), key=_weight)

    def is_infected(self, ref: str) -> bool:
        """Return whether the newest scan of a point found malware. Reads nothing."""
        return self._newest.get(blob_of_ref(ref), _NEVER)[1] is ProofResult.FAILED

    def of(self, ref: str) -> ScanState:
        """Return the state of a point."""
        proof = newest_scan(self._repository, ref) if blob_of_ref(ref) in self._newest else None
        if proof is None:
            return ScanState(point=ref, cleanness=Cleanness.UNSCANNED)
        cleanness = self._judge(proof)
        return ScanState(
            point=ref,
            cleanness=cleanness,
            scanned_at=proof.at,
            text=proof.text,
            whole_at=_time(proof) if cleanness is Cleanness.CLEAN else None,
            chain=chain_of(proof),
        )

    def _judge(self, proof: PointProof) -> Cleanness:
        if proof.result is ProofResult.FAILED:
            return Cleanness.FOUND
        scope = proof.details.get("scope")
        if proof.passed and scope == ScanScope.WHOLE:
            return Cleanness.CLEAN
        if not proof.passed or scope != ScanScope.CHANGED or not chain_of(proof):
            return Cleanness.UNDECIDED
        return Cleanness.BASED if any(map(self.is_infected, chain_of(proof))) else Cleanness.CLEAN

    def last_clean(
        self, points: Iterable[tuple[str, datetime]], *, damaged: Collection[str] = frozenset()
    ) -> LastClean:
        """Return the newest clean one of the points of a VM, and the points after it.

        :param points: ref and time of each; a point from the future is no VM's newest.
        :param damaged: refs of points that are not to be chosen, because they cannot be restored whole.
        """
        newer: list[ScanState] = []
        past = (point for point in points if not is_ahead(point[1]))
        for ref, taken_at in sorted(past, key=lambda point: (point[1], point[0]), reverse=True):
            state = replace(self.of(ref), taken_at=taken_at)
            if state.cleanness is Cleanness.CLEAN and ref not in damaged:
                return LastClean(clean=state, newer=tuple(newer))
            newer.append(state)
        return LastClean(clean=None, newer=tuple(newer))


def last_clean_of(repository: Repository, vm_key: str, *, before: datetime | None = None) -> LastClean:
    """Return the last clean point of one VM.

    :param before: look only at points that are older.
    """
    names = ((name.ref, name.taken_at) for name in repository.manifests.names(vm_key))
    points = [(ref, at) for ref, at in names if at is not None and (before is None or at < before)]
    damaged = {ref for ref, marks in repository.marks.all(vm_key).items() if marks.damage is not None}
    return ScanStates(repository, vm_key).last_clean(points, damaged=damaged)


def newest_scan(repository: Repository, ref: str) -> PointProof | None:
    """Return the newest outcome of a malware scan of a point; an undecided one only if there is no other."""
    scans = [proof for proof in repository.proofs.of(ref) if proof.kind is ProofKind.MALWARE]
    return max(scans, key=lambda proof: _weight((proof.at, proof.result)), default=None)


def _weight(scan: tuple[datetime, ProofResult]) -> tuple[bool, datetime]:
    """Return how much the outcome of a scan counts: one that could not tell takes nothing back, and the newest wins."""
    return scan[1] is not ProofResult.UNDECIDED, scan[0]


def chain_of(proof: PointProof) -> tuple[str, ...]:
    """Return the refs of the points on which a scan of changed files stands, the newest first; empty: on none."""
    chain = proof.details.get("chain")
    return tuple(map(str, chain)) if isinstance(chain, list) else ()


def _time(proof: PointProof) -> datetime | None:
    try:
        return datetime.fromisoformat(str(proof.details.get("whole_at")))
    except ValueError:
        return None
