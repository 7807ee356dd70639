"""Rows of checks of points: the failed ones, the LVM of a VM, and a scan for malware, while other points are there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.growth.stock import POINTS_OF_A_VM, Counts, calls_but_reads, calls_of, filled
from vmkeep.clock import now
from vmkeep.flows.failed_checks import ListedProofs
from vmkeep.flows.lvm_checks import LvmRequest, check_lvm
from vmkeep.flows.malware import PointScanner, ScanWish
from vmkeep.model.proofs import PointProof, ProofKind, ProofResult
from vmkeep.model.scanfacts import ScannerFacts
from vmkeep.repository import Repository, open_repository
from vmkeep.scanning.contract import Content, Verdict, VerdictKind


class _Nothing:
    """A scanner that finds nothing."""

    facts = ScannerFacts(name="none", version="1")
    warnings = ()

    def scan(self, content: Content) -> Verdict:
        """Find nothing."""
        return Verdict(kind=VerdictKind.CLEAN, text=content.name[:0])


def checks(folder: Path, points: int) -> Counts:
    """A fourth of the points has a proof of a failed boot test. The newest point of one VM is checked and scanned."""
    refs = filled(folder, points // POINTS_OF_A_VM)
    with open_repository(str(folder / "repository")) as repository:
        for ref in refs[::POINTS_OF_A_VM]:
            proof = PointProof(kind=ProofKind.BOOT, result=ProofResult.FAILED, at=now())
            repository.proofs.add(ref, proof)
    one = LvmRequest(keys=(refs[0].rpartition("/")[0],), record=True)
    vms = points // POINTS_OF_A_VM
    return {
        "calls for all failed checks": calls_of(folder, lambda repository: ListedProofs(repository).failed()),
        "calls of an LVM check of one VM, without reads of blocks": calls_but_reads(
            folder, lambda repository: check_lvm(repository, one, by="bench")
        ),
        "the same of all VMs, for each": calls_but_reads(
            folder, lambda repository: check_lvm(repository, LvmRequest(), by="bench")
        )
        / vms,
        "calls of a scan of a point, without reads of blocks": calls_but_reads(
            folder, lambda repository: _scan(repository, refs[0])
        ),
    }


def _scan(repository: Repository, ref: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        scanner = PointScanner(
            repository, (_Nothing(),), threads=1, folder=Path(scratch), check=lambda: None, by="bench", run=""
        )
        scanner.scan(ref, ScanWish(), on_progress=lambda _volume: lambda _progress: None)
