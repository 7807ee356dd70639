"""Tells which restore points are clean by their malware scans, and which is the last clean one of a VM.

A point is clean if its newest scan that could tell looked at all of it and found nothing, or if that scan looked at
the files that differ from an older point which was clean by then. The proof names the chain of older points on which it
stands. If a later scan finds malware in one of them, the point is in doubt, because the file may be in it unchanged.
Such a point gets a proof of its own that says so, because the older one may be deleted before it.
A find counts until the same scanner has looked at all files again, with signatures that are not older, and found
nothing. For a find in an older point, such a scan may have been earlier: it would have found the file here, too.
A scan of changed files takes nothing back, because it leaves out the very file if that is as it was.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from vmkeep.blobs import abreast
from vmkeep.errors import NotFoundError
from vmkeep.flows.scan_proofs import facts_of, passed_on
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanfacts import ScanFacts, ScannerFacts, ScanScope
from vmkeep.repository import ProofName, Repository
from vmkeep.repository.points import blob_of_ref, is_ahead


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


_WEIGHT = (Cleanness.FOUND, Cleanness.CLEAN, Cleanness.BASED, Cleanness.UNDECIDED)
"""The order in which the words of several scans that passed count. A find that counts comes alone."""


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
    left: int = 0
    """Files that the scan left out, and the older scans on which it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastClean:
    """The last clean point of a VM, and the points after it."""

    clean: ScanState | None
    """``None``: no point of the VM is known to be clean."""
    newer: tuple[ScanState, ...] = ()
    """The points after it, the newest first."""


class ScanStates:
    """The states of the points of a repository, or of one VM. One list of names tells most; few proofs are read."""

    def __init__(
        self, repository: Repository, vm_key: str | None = None, *, names: Iterable[ProofName] | None = None
    ) -> None:
        """Look which points were scanned.

        :param vm_key: only points of this VM.
        :param names: the names of the proofs; ``None``: list them.
        """
        self._repository = repository
        self._scans: defaultdict[str, list[ProofName]] = defaultdict(list)
        """The scans by the blob key of their point's manifest."""
        self._infected: set[str] = set()
        """Folders of the VMs of which a scan has found something, whether that still counts or not."""
        for name in repository.proofs.names(vm_key) if names is None else names:
            if name.kind is ProofKind.MALWARE:
                self._scans[name.manifest].append(name)
                if name.result is ProofResult.FAILED:
                    self._infected.add(_folder(name.manifest))

    def is_infected(self, ref: str) -> bool:
        """Return whether a find counts in a point, its own or one that was passed on to it. Mostly reads nothing."""
        return self.find_in(ref) is not None

    def find_in(self, ref: str) -> PointProof | None:
        """Return the find that counts in a point, if there is one. Mostly reads nothing."""
        names = self._scans.get(blob_of_ref(ref), ())
        if all(name.result is not ProofResult.FAILED for name in names):
            return None
        return next((scan for scan in self._counting(ref) if scan.result is ProofResult.FAILED), None)

    def doubts(self, refs: Iterable[str]) -> dict[str, Cleanness]:
        """Return which of some points have malware, or are in doubt. Read only proofs of VMs that have a find."""
        asked = [ref for ref in refs if _folder(blob_of_ref(ref)) in self._infected]
        states = abreast(self._repository.blobs, self.of, asked)
        bad = (Cleanness.FOUND, Cleanness.BASED)
        return {state.point: state.cleanness for state in states if state.cleanness in bad}

    def of(self, ref: str) -> ScanState:
        """Return the state of a point: by a find that counts, else by the newest scan that shows it clean."""
        proofs = self._counting(ref)
        if not proofs:
            return ScanState(point=ref, cleanness=Cleanness.UNSCANNED)
        judged = [(proof, self._judge(proof)) for proof in proofs]
        proof, cleanness = min(judged, key=lambda each: _WEIGHT.index(each[1]))  # the first of equals is the newest
        facts = facts_of(proof)
        return ScanState(
            point=ref,
            cleanness=cleanness,
            scanned_at=proof.at,
            text=proof.text,
            whole_at=facts.whole_at if cleanness is Cleanness.CLEAN else None,
            chain=facts.chain,
            left=facts.left,
        )

    def _counting(self, ref: str) -> tuple[PointProof, ...]:
        """Return the malware scans of a point that count, the newest first.

        A find counts alone, until a later scan of all files by the same scanner passes. A scan by another one, by other
        rules, or with older signatures does not take it back, because it may know nothing of that malware. Nor does one
        from the future, because nobody knows whether it was later.
        Without a find, all scans that passed count, because a weaker one takes nothing from a stronger one.
        """
        scans = self._repository.proofs.load(self._scans.get(blob_of_ref(ref), ()))
        told = [proof for proof in scans if proof.result is not ProofResult.UNDECIDED]
        whole = [proof for proof in told if proof.passed and _is_whole(proof) and not is_ahead(proof.at)]
        for proof in told:  # the newest first
            if not proof.passed and self._counts(proof, whole):
                return (proof,)
        return tuple(proof for proof in told if proof.passed) or tuple(scans[:1])

    def _counts(self, find: PointProof, whole: Sequence[PointProof]) -> bool:
        """Return whether a find counts.

        :param whole: the scans of all files of the point that found nothing.
        """
        facts = facts_of(find)
        if all(any(_speaks_against(find, each, finder) for each in whole) for finder in _finders(find)):
            return False
        if facts.found_in is None or not self._scans.get(blob_of_ref(facts.found_in)):
            return True  # it was found here, or nobody can take it back there any more
        return self.is_infected(facts.found_in)

    def _judge(self, proof: PointProof) -> Cleanness:
        facts = facts_of(proof)
        if proof.result is ProofResult.FAILED:
            return Cleanness.FOUND if facts.found_in is None else Cleanness.BASED
        if proof.passed and facts.scope is ScanScope.WHOLE:
            return Cleanness.CLEAN
        if not proof.passed or facts.scope is not ScanScope.CHANGED or not facts.chain:
            return Cleanness.UNDECIDED
        return Cleanness.BASED if any(map(self.is_infected, facts.chain)) else Cleanness.CLEAN

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


def pass_on(repository: Repository, vm_key: str, find: PointProof) -> None:
    """Tell the points that stand on a point of a find in it: their scans left out the files that it was found in."""
    for ref, proofs in repository.proofs.all(vm_key).items():
        scans = [facts_of(proof) for proof in proofs if proof.kind is ProofKind.MALWARE and proof.passed]
        if ref != find.point and any(find.point in scan.chain for scan in scans):
            with contextlib.suppress(NotFoundError):  # the point is being deleted, or left its proofs behind
                repository.proofs.add(ref, passed_on(find))


def _folder(manifest: str) -> str:
    return manifest.rpartition("/")[0]


def _is_whole(proof: PointProof) -> bool:
    return facts_of(proof).scope is ScanScope.WHOLE


def _speaks_against(find: PointProof, whole: PointProof, finder: ScannerFacts) -> bool:
    """Return whether a scan of all files of a point shows that what a scanner has found is not in it.

    An earlier scan does so for a find in another point only: nothing in a point changes, so that its signatures alone
    matter. A later find in the point itself contradicts that scan, whatever its signatures are, and so it counts.
    """
    later = whole.at > find.at
    if not later and facts_of(find).found_in is None:
        return False
    return _knows(facts_of(whole), finder, later=later)


_UNKNOWN: Final = ScannerFacts(name="unknown", version="")
"""Stands for the scanners of a find that tells of none. No scan knows what it knew."""


def _finders(find: PointProof) -> tuple[ScannerFacts, ...]:
    """Return the scanners that have found something."""
    facts = facts_of(find)
    return tuple(scanner for scanner in facts.scanners if scanner.name in facts.finders) or (_UNKNOWN,)


def _knows(passed: ScanFacts, finder: ScannerFacts, *, later: bool) -> bool:
    """Return whether a scan used a scanner that would find what another one has found, if it were there.

    :param later: the scan was later than the find, so that a scanner that does not tell its age knows as much.
    """
    return any(
        (scanner.name, scanner.rules) == (finder.name, finder.rules)
        and (
            later
            if finder.signatures_at is None
            else scanner.signatures_at is not None and scanner.signatures_at >= finder.signatures_at
        )
        for scanner in passed.scanners
    )
