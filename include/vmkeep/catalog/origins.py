"""The VM that a restore point was taken of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOrigin:
    """The VM that a restore point was taken of."""

    ref: str
    taken_at: datetime
    vm_key: str
    vcenter: str | None
    moref: str | None
    addresses: tuple[str, ...]
    """Addresses that its guest had."""
    dns_name: str | None


def origin_of(row: Any, taken_at: datetime) -> PointOrigin:
    """Return the origin that a row of a query tells."""
    return PointOrigin(
        ref=row.ref,
        taken_at=taken_at,
        vm_key=row.vm_key,
        vcenter=row.vcenter,
        moref=row.moref,
        addresses=tuple(row.addresses.split()),
        dns_name=row.dns_name,
    )
