"""Holds the plan of a restore to the outcome of the scan that its request asks for."""

from __future__ import annotations

from vmkeep.errors import MalwareFoundError, NotScannedError
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.model.proofs import ProofResult
from vmkeep.model.scanning import ScanFirst, ScanOutcome
from vmkeep.repository import Repository


def about_scan(
    repository: Repository, point: RestorePoint, wish: ScanFirst, scanned: ScanOutcome | None = None
) -> tuple[str, ...]:
    """Return a sentence about the scans of a point that is about to be restored, if a scan was asked for.

    :param scanned: the outcome of a scan that was made just now; ``None``: there was none. It counts whether it is kept
        or not, and an older scan that found nothing does not make it good.
    :raises MalwareFoundError: something was found, and the restore is to be refused then.
    :raises NotScannedError: the point is not known to be clean, and the restore is to be refused then.
    """
    if wish is ScanFirst.NO:
        return ()
    state = ScanStates(repository, point.vm.key).of(point.ref)
    is_bad = state.cleanness in (Cleanness.FOUND, Cleanness.BASED)
    if scanned is not None and scanned.result is not ProofResult.PASSED and not is_bad:
        is_bad = scanned.result is ProofResult.FAILED
        said = f"{point.ref} is not {'clean' if is_bad else 'known to be clean'}: {scanned.text}"
    elif state.cleanness is Cleanness.CLEAN:
        return ()
    else:
        said = f"{point.ref} is not known to be clean ({state.cleanness}): {state.text or 'no scan has looked at it'}"
    if wish is ScanFirst.REFUSE:
        other = f"restore another point ('vmkeep vm clean' lists the last clean ones), or say {named('scan', 'warn')}"
        raise (MalwareFoundError if is_bad else NotScannedError)(f"{said}; {other}")
    return () if state.cleanness is Cleanness.FOUND else (said,)  # a find is among the doubts about a point already
