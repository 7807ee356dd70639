"""Tells which restore points are clean by their malware scans, and which is the last clean one of a VM.

A point is clean if its newest scan that could tell looked at all of it and found nothing, or if that scan looked at
the files that differ from an older point which was clean by then. The proof names the chain of older points on which it
stands. If a later scan finds malware in one of them, the point is in doubt, because the file may be in it unchanged.
Such a point gets a proof of its own that says so, because the older one may be deleted before it.
A find counts until the same scanner has looked at all files again, with signatures that are not older, and found
nothing. A scan of changed files takes nothing back, because it leaves out the very file if that is as it was.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from vmkeep.blobs import abreast
from vmkeep.errors import NotFoundError
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanning import ScanScope
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


FOUND_IN = "found_in"
"""Detail of a find that was made in an older point, on which this one stands: the older one's ref."""
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

    def __init__(self, repository: Repository, vm_key: str | None = None) -> None:
        self._repository = repository
        self._scans: defaultdict[str, list[ProofName]] = defaultdict(list)
        """The scans by the blob key of their point's manifest."""
        self._infected: set[str] = set()
        """Folders of the VMs of which a scan has found something, whether that still counts or not."""
        for name in repository.proofs.names(vm_key):
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
        return ScanState(
            point=ref,
            cleanness=cleanness,
            scanned_at=proof.at,
            text=proof.text,
            whole_at=_time(proof) if cleanness is Cleanness.CLEAN else None,
            chain=chain_of(proof),
            left=_left(proof),
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
        whole: list[PointProof] = []
        for proof in told:  # the newest first
            if not proof.passed and self._counts(proof, whole):
                return (proof,)
            if proof.passed and proof.details.get("scope") == ScanScope.WHOLE and not is_ahead(proof.at):
                whole.append(proof)
        return tuple(proof for proof in told if proof.passed) or tuple(scans[:1])

    def _counts(self, find: PointProof, whole: Sequence[PointProof]) -> bool:
        """Return whether a find counts.

        :param whole: the later scans of all files that found nothing.
        """
        if all(any(_knows(each, finder) for each in whole) for finder in _finders(find)):
            return False
        older = find.details.get(FOUND_IN)
        if older is None or not self._scans.get(blob_of_ref(str(older))):
            return True  # it was found here, or nobody can take it back there any more
        return self.is_infected(str(older))

    def _judge(self, proof: PointProof) -> Cleanness:
        if proof.result is ProofResult.FAILED:
            return Cleanness.BASED if FOUND_IN in proof.details else Cleanness.FOUND
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


def pass_on(repository: Repository, vm_key: str, find: PointProof) -> None:
    """Tell the points that stand on a point of a find in it: their scans left out the files that it was found in."""
    for ref, proofs in repository.proofs.all(vm_key).items():
        scans = [proof for proof in proofs if proof.kind is ProofKind.MALWARE and proof.passed]
        if ref != find.point and any(find.point in chain_of(proof) for proof in scans):
            text = f"it may share files with {find.point}: {find.text}"
            details = find.details | {FOUND_IN: find.point}
            series = f"{find.series}\nfound in {find.point}"  # so that it pushes out no find of the point's own
            told = replace(find, text=text, details=details, series=series, files={})
            with contextlib.suppress(NotFoundError):  # the point is being deleted, or left its proofs behind
                repository.proofs.add(ref, told)


def _folder(manifest: str) -> str:
    return manifest.rpartition("/")[0]


@dataclass(frozen=True, slots=True)
class _Scanner:
    """A scanner as a proof names it."""

    name: str
    rules: str
    signatures_at: datetime | None


def _knows(passed: PointProof, finder: _Scanner) -> bool:
    """Return whether a scan used a scanner that would find what another one has found, if it were there."""
    return any(
        (scanner.name, scanner.rules) == (finder.name, finder.rules)
        and (
            finder.signatures_at is None
            or (scanner.signatures_at is not None and scanner.signatures_at >= finder.signatures_at)
        )
        for scanner in _scanners(passed)
    )


def _scanners(proof: PointProof) -> set[_Scanner]:
    """Return the scanners of a scan."""
    return {
        _Scanner(str(each.get("name")), str(each.get("rules", "")), _parsed(each.get("signatures_at")))
        for each in proof.details.get("scanners") or ()
        if isinstance(each, dict)
    }


def _finders(proof: PointProof) -> set[_Scanner]:
    """Return the scanners that have found something; one that nobody knows if the proof tells of none.

    Proofs of earlier programs tell them by their finds only, of which they keep the first hundred.
    """
    told = proof.details.get("finders")
    findings = (each.get("scanner") for each in proof.details.get("findings") or () if isinstance(each, dict))
    names = set(told if isinstance(told, list) else findings)
    return {scanner for scanner in _scanners(proof) if scanner.name in names} or {_Scanner("unknown", "", None)}


def chain_of(proof: PointProof) -> tuple[str, ...]:
    """Return the refs of the points on which a scan of changed files stands, the newest first; empty: on none."""
    chain = proof.details.get("chain")
    return tuple(map(str, chain)) if isinstance(chain, list) else ()


def _left(proof: PointProof) -> int:
    volumes = (each for each in proof.details.get("volumes") or () if isinstance(each, dict))
    return sum(int(each.get("unscanned") or 0) for each in volumes) + int(proof.details.get("left_before") or 0)


def _time(proof: PointProof) -> datetime | None:
    return _parsed(proof.details.get("whole_at"))


def _parsed(text: object) -> datetime | None:
    """Return an aware time; ``None``: the text is none."""
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
