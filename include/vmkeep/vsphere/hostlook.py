"""Lists the ESXi hosts that a copy may go to, by the names that vCenter gives to VDDK."""

from __future__ import annotations

from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.hosts import why_not_in_use
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import read_all
from vmkeep.vsphere.session import Session

_STATE: Final = ("runtime.connectionState", "runtime.inMaintenanceMode", "runtime.powerState")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLook:
    """An ESXi host."""

    address: str
    """Name or address, as vCenter knows it; of a host without vCenter, as the site names it."""
    version: str | None
    """Version of ESXi; ``None``: the user may not see it."""
    out_of_use: str | None
    """The reason why nothing runs there now, e.g. ``in maintenance mode``; ``None``: it is in use."""


def list_hosts(session: Session) -> tuple[HostLook, ...]:
    """Return the hosts that the user sees, sorted by address. A host whose name the user may not read is left out."""
    with speaking(f"list the hosts of {session.host}"):
        found = read_all(session, vim.HostSystem, "name", "config.product.version", *_STATE)
    hosts = [
        HostLook(
            address=decode_name(values["name"]) if session.is_vcenter else session.host,
            version=values["config.product.version"] or (None if session.is_vcenter else session.version),
            out_of_use=why_not_in_use(values),
        )
        for _, values in found
        if values["name"]
    ]
    return tuple(sorted(hosts, key=lambda host: host.address))
