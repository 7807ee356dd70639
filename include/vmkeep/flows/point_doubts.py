"""Warns of a restore point that lacks something, and of transport modes by which no restore can write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmkeep.flows.clean_points import Cleanness, ScanStates, last_clean_of
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.transport import TransportMode, modes_without_snapshot
from vmkeep.repository import ProofName, Repository
from vmkeep.repository.points import blob_of_ref


def about_content(repository: Repository, point: RestorePoint, *, work: str) -> tuple[str, ...]:
    """Warn of all that a reader of a point does not get: disks that are not in it, and what it may have lost.

    :param work: the word for the reading, e.g. export.
    """
    missing = (f"{disk.label} ({disk.address}) is not in the point: {disk.why_skipped}" for disk in point.skipped)
    return (*missing, *about_doubts(repository, point, work=work))


def about_doubts(repository: Repository, point: RestorePoint, *, work: str = "restore") -> Iterator[str]:
    """Warn of a point that has lost something, may not be what the VM had on its disks, or did not pass a check."""
    damage = repository.marks.damage_of(point.ref)
    if damage is not None:
        lost = ", ".join(part.name for part in damage.lost) or "what is lost is not known"
        yield (
            f"{point.ref} is marked damaged ({lost}): {damage.reason}; choose a point that is not, if there is one, "
            f"because the {work} fails at the first block that is lost"
        )
    doubt = repository.marks.suspicion_of(point.ref)
    if doubt is not None:
        disks = ", ".join(doubt.disks) or "every disk"
        yield f"{point.ref} is marked suspect ({disks}): {doubt.reason}; choose a point that is not, if there is one"
    names = list(repository.proofs.names(point.vm.key))  # of all points of the VM, because one find may be about many
    manifest = blob_of_ref(point.ref)
    for proof in failed_last(repository.proofs.load(name for name in names if name.manifest == manifest)):
        yield f"{point.ref} did not pass the check '{proof.kind}' of {proof.at:%Y-%m-%d %H:%M} UTC: {proof.text}"
    yield from _about_malware(repository, point, names)


def _about_malware(repository: Repository, point: RestorePoint, names: Iterable[ProofName]) -> Iterator[str]:
    """Warn of malware that a scan has found in a point, or in an older one whose files it shares."""
    state = ScanStates(repository, point.vm.key, names=names).of(point.ref)
    if state.cleanness in (Cleanness.FOUND, Cleanness.BASED):
        found = state.text if state.cleanness is Cleanness.FOUND else "malware in an older point whose files it shares"
        last = last_clean_of(repository, point.vm.key).clean
        other = f"the VM's last clean point is {last.point}" if last else "no point of the VM is known to be clean"
        yield f"{point.ref}, scan of {state.scanned_at:%Y-%m-%d}: {found}; {other}"


def failed_last(proofs: Iterable[PointProof]) -> Iterator[PointProof]:
    """Yield the last proof of each kind that told anything, if it failed. Malware has warnings of its own.

    :param proofs: the newest first.
    """
    told: dict[ProofKind, PointProof] = {}
    for proof in proofs:
        if proof.result is not ProofResult.UNDECIDED and proof.kind is not ProofKind.MALWARE:
            told.setdefault(proof.kind, proof)
    yield from (proof for proof in told.values() if not proof.passed)


def about_transports(asked: tuple[TransportMode, ...]) -> tuple[str, ...]:
    """Warn of the transport modes by which new disks cannot be written."""
    left = modes_without_snapshot(asked)
    dropped = [name for name in asked if name not in left]
    if not dropped:
        return ()
    modes = f"by {' or '.join(left)}, not by {' or '.join(dropped)}"
    return (f"the disks are written {modes}: for that VDDK wants a snapshot, and the VM that carries them has none",)
