"""The reference to a VM in one vCenter."""

from __future__ import annotations

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRef:
    """Managed object id and name of one VM in one vCenter. Its identity across servers is :class:`VmIdentity`."""

    moref: str
    """Managed object id, e.g. ``vm-16``. It is valid in one vCenter only."""
    name: str
    """Display name as vSphere lists it. Names are not unique."""

    def __str__(self) -> str:
        """Return the VM's name and id, for messages."""
        return f"{self.name} ({self.moref})"
