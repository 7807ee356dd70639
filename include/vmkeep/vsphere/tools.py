"""Waits for VMware Tools, which may seem to be away for some seconds after the guest was held still for a snapshot."""

from __future__ import annotations

import time

from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_SECONDS = 30.0
_PAUSE_SECONDS = 2.0
_STATUS = "guest.toolsRunningStatus"


def await_tools(session: Session, moref: str) -> bool:
    """Return whether VMware Tools run in the guest of a VM, now or within half a minute."""
    until = time.monotonic() + _SECONDS
    while True:
        with speaking(f"look at VMware Tools in VM {moref}"):
            if read(session, session.vm(moref), _STATUS)[_STATUS] == "guestToolsRunning":
                return True
        if time.monotonic() >= until:
            return False
        time.sleep(_PAUSE_SECONDS)
