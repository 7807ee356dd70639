"""A VM of one vCenter, as code refers to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VmRef:
    """Managed object id and name of one VM in one vCenter. Its identity across servers is :class:`VmIdentity`."""

    moref: str
    """Managed object id, e.g. ``vm-16``; it means nothing at another server."""
    name: str
    """Display name, as vSphere lists it; names are not unique."""

    def __str__(self) -> str:
        """The VM as messages name it."""
        return f"{self.name} ({self.moref})"
