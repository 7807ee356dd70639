"""Holds the plan of a restore to the outcome of the scan that its request asks for."""

from __future__ import annotations

from typing import Final

from vmkeep.errors import MalwareFoundError, NotScannedError
from vmkeep.flows.clean_points import Cleanness, ScanStates
from vmkeep.model.point import RestorePoint
from vmkeep.model.scanning import ScanFirst
from vmkeep.repository import Repository

_OTHER: Final = "restore another point ('vmkeep vm clean' lists the last clean ones), or say --scan warn (scan: warn)"


def about_scan(repository: Repository, point: RestorePoint, wish: ScanFirst, *, found: str = "") -> tuple[str, ...]:
    """Return a sentence about the newest scan of a point that is about to be restored, if a scan was asked for.

    :param found: the find of a scan that was made just now. It counts, whatever else is kept with the point.
    :raises MalwareFoundError: something was found, and the restore is to be refused then.
    :raises NotScannedError: the point is not known to be clean, and the restore is to be refused then.
    """
    if wish is ScanFirst.NO:
        return ()
    state = ScanStates(repository, point.vm.key).of(point.ref)
    if found and state.cleanness is not Cleanness.FOUND:  # the store has not taken the note
        said = f"{point.ref} is not clean: {found}"
        if wish is ScanFirst.REFUSE:
            raise MalwareFoundError(f"{said}; {_OTHER}")
        return (said,)
    if state.cleanness is Cleanness.CLEAN:
        return ()
    said = f"{point.ref} is not known to be clean ({state.cleanness}): {state.text or 'no scan has looked at it'}"
    if wish is ScanFirst.REFUSE:
        bad = state.cleanness in (Cleanness.FOUND, Cleanness.BASED)
        raise (MalwareFoundError if bad else NotScannedError)(f"{said}; {_OTHER}")
    return () if state.cleanness is Cleanness.FOUND else (said,)  # a find is among the doubts about a point already
