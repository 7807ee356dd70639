"""The restore points of a repository, as far as a plan chooses by them."""

from __future__ import annotations

from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.selection import Above, VmFacts, address_of


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPoint:
    """One restore point of a VM."""

    ref: str
    taken_at: datetime
    vm_name: str
    vm_key: str
    vcenter: str | None
    """UUID of the vCenter where it was taken. VMs of two vCenters may have one key."""
    server: str | None = None
    """Address of that vCenter, for people to read."""
    moref: str | None = None
    """``None``: the point is of imported images, and holds no configuration of a VM."""
    inventory_path: str | None = None
    addresses: tuple[str, ...] = ()
    dns_name: str | None = None
    doubt: str = ""
    """The reason not to choose it: it is marked damaged or suspect, or has malware; empty: nothing is known against
    it."""
    pinned: bool = False
    ahead: bool = False
    """Its time is in the future, because a clock was wrong."""

    @property
    def vm(self) -> tuple[str, str | None]:
        """The VM that it is of: key and vCenter."""
        return self.vm_key, self.vcenter

    @property
    def facts(self) -> VmFacts:
        """The facts of the VM that selectors may ask for."""
        return VmFacts(
            moref=self.moref or "",
            name=self.vm_name,
            uuids=(self.vm_key,),
            addresses=frozenset(filter(None, map(address_of, self.addresses))),
            dns_names=frozenset({self.dns_name.rstrip(".").lower()} if self.dns_name else ()),
            folders=_folders(self.inventory_path),
        )


def _folders(path: str | None) -> tuple[Above, ...]:
    """Return the objects above a VM, from its inventory path. The folder ``vm`` of a datacenter is hidden."""
    parts = (path or "").removeprefix("/").split("/")[:-1]
    datacenter = next((at for at, part in enumerate(parts) if part == "vm"), None)
    return tuple(
        Above(part, counts=datacenter is None or at > datacenter, hidden=at == datacenter)
        for at, part in enumerate(parts)
    )
