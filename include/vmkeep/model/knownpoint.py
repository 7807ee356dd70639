"""The facts of a restore point by which the point that a person means is found."""

from __future__ import annotations

from datetime import datetime

from vmkeep.lateclass import dataclass
from vmkeep.model.point import RestorePoint


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPoint:
    """The facts of a sealed point that tell of which VM it was taken, when, and for which policy.

    A catalog keeps them.
    """

    ref: str
    taken_at: datetime
    name: str
    """The VM's name."""
    inventory_path: str | None
    vcenter: str | None
    moref: str | None
    policy: str | None
    """The policy that asked for the point; empty or ``None``: none did, or it is not known."""


def known_point(point: RestorePoint) -> KnownPoint:
    """Return these facts of a point."""
    vm = point.vm
    return KnownPoint(
        ref=point.ref,
        taken_at=point.taken_at,
        name=vm.name,
        inventory_path=vm.inventory_path,
        vcenter=vm.vcenter,
        moref=vm.moref,
        policy=point.policy,
    )
