"""Tells whether a VM runs and is well, as far as vSphere knows."""

from __future__ import annotations

from vmkeep.lateclass import dataclass
from vmkeep.vsphere import guests
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.properties import read
from vmkeep.vsphere.session import Session

_POWER, _TOOLS, _HEARTBEAT = "runtime.powerState", "guest.toolsRunningStatus", "guestHeartbeatStatus"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmHealth:
    """The health of one VM now."""

    running: bool
    tools_run: bool
    heartbeat: str
    """vSphere's colour: ``green``: the guest answers, ``yellow``: now and then, ``red``: not, ``gray``: no Tools."""
    addresses: tuple[str, ...]
    """Addresses of the guest, the main one first."""


def health_of(session: Session, moref: str) -> VmHealth:
    """Return the health of a VM."""
    with speaking(f"look at the health of VM {moref}"):
        values = read(session, session.vm(moref), _POWER, _TOOLS, _HEARTBEAT, *guests.PATHS)
    return VmHealth(
        running=str(values[_POWER]) == "poweredOn",
        tools_run=values[_TOOLS] == "guestToolsRunning",
        heartbeat=str(values[_HEARTBEAT]),
        addresses=guests.addresses_of(values),
    )
