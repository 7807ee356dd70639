"""The scanners of a proxy, by its environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmkeep.flows.malware import ScannerPlaces


def own_scanners() -> ScannerPlaces:
    """Return the scanners that this worker's environment names, or else the ClamAV of this machine.

    Only the environment names them: who starts a run must not choose a file to read or a server to send files to.
    """
    from vmkeep.flows.malware import places_from  # takes time to import

    rules = (os.environ.get("VMKEEP_YARA") or "").split(":")
    return places_from(os.environ.get("VMKEEP_CLAMAV") or None, tuple(filter(None, rules)))
