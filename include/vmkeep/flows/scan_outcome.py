"""Holds the plan of a restore to the outcome of the scan that its request asks for."""

from __future__ import annotations

from vmkeep.errors import MalwareFoundError, NotScannedError
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.model.point import RestorePoint
from vmkeep.model.scanning import ScanFirst
from vmkeep.repository import Repository


def about_scan(repository: Repository, point: RestorePoint, wish: ScanFirst) -> tuple[str, ...]:
    """Return a sentence about the newest scan of a point that is about to be restored, if a scan was asked for.

    :raises MalwareFoundError: something was found, and the restore is to be refused then.
    :raises NotScannedError: the point is not known to be clean, and the restore is to be refused then.
    """
    if wish is ScanFirst.NO:
        return ()
    state = ScanStates(repository, point.vm.key).of(point.ref)
    if state.cleanness is Cleanness.CLEAN:
        return ()
    said = f"{point.ref} is not known to be clean ({state.cleanness}): {state.text or 'no scan has looked at it'}"
    if wish is ScanFirst.REFUSE:
        other = "restore another point ('vmkeep vm clean' lists the last clean ones), or say --scan warn (scan: warn)"
        bad = state.cleanness in (Cleanness.FOUND, Cleanness.BASED)
        raise (MalwareFoundError if bad else NotScannedError)(f"{said}; {other}")
    return () if state.cleanness is Cleanness.FOUND else (said,)  # a find is among the doubts about a point already
