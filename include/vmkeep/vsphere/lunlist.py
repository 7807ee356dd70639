"""Lists the LUNs to which a restore can map an RDM, with the use that each of them has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from vmkeep.lateclass import dataclass
from vmkeep.vsphere.api import moref_of, vim
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.freeluns import content_of, uses_of_luns
from vmkeep.vsphere.hosts import why_not_in_use
from vmkeep.vsphere.luns import Lun, list_luns
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.properties import WHOLE, read_all
from vmkeep.vsphere.session import Session

_HOST = ("name", "runtime.connectionState", "runtime.inMaintenanceMode", "runtime.powerState")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedLun:
    """A LUN that hosts in use see."""

    choose: str
    """The word for it that a restore takes: its canonical name."""
    uuid: str
    capacity: int
    """Bytes."""
    use: str
    """The use that somebody has for it; empty: it is free."""
    holds: str
    """Its partitions, in words, if it is free; empty: there are none."""
    aside: str
    """The reason why a free one is mapped only if a person names it; empty: there is none."""
    hosts: tuple[str, ...]
    """Names of the hosts in use that see it."""


def list_all_luns(session: Session) -> tuple[ListedLun, ...]:
    """Return every LUN that a host in use offers for RDMs, the free ones first, then by size and name."""
    with speaking("list the hosts"):
        found = read_all(session, vim.HostSystem, *_HOST, page=WHOLE)
    names = {
        moref_of(host): decode_name(values["name"] or "") for host, values in found if why_not_in_use(values) is None
    }
    seen = {host: list_luns(session, host) for host in names}
    hosts: dict[str, list[str]] = {}
    for host, luns in seen.items():
        for lun in luns:
            hosts.setdefault(lun.uuid, []).append(host)
    listed: list[ListedLun] = []
    for host, luns in seen.items():
        new = [lun for lun in luns if hosts[lun.uuid][0] == host]  # because one host has to be asked about each LUN
        listed += _listed(session, host, new, {uuid: tuple(names[each] for each in of) for uuid, of in hosts.items()})
    return tuple(sorted(listed, key=lambda one: (bool(one.use), one.capacity, one.choose)))


def _listed(
    session: Session, host: str, luns: Sequence[Lun], hosts: Mapping[str, tuple[str, ...]]
) -> Iterator[ListedLun]:
    if not luns:
        return
    uses = uses_of_luns(session, host)
    held = content_of(session, host, [lun for lun in luns if not uses.of(lun)])
    for lun in luns:
        yield ListedLun(
            choose=lun.device_name,
            uuid=lun.uuid,
            capacity=lun.capacity,
            use=uses.of(lun),
            holds=held.get(lun.uuid, ""),
            aside=lun.aside,
            hosts=hosts[lun.uuid],
        )
