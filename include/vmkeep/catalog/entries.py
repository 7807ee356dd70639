"""Restore points as the catalog lists them: one row of the database for each, with the sums over its disks.

A list may have 100,000 points. So no objects of the database library are made of them, and texts that many points share
are kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from vmkeep.catalog.schema import PointRow
from vmkeep.lateclass import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A restore point as the catalog lists it."""

    ref: str
    id: str
    vm_name: str
    vm_key: str
    taken_at: datetime
    run: str
    kind: str
    consistency: str
    disks: int
    skipped: int
    capacity: int
    bytes_read: int
    bytes_stored: int
    warnings: int
    vcenter: str | None = None
    """UUID of the vCenter where the point was taken. VMs of two vCenters may have one name and key."""
    moref: str | None = None
    inventory_path: str | None = None
    server: str | None = None
    """Address of that vCenter, for people to read."""


_SHARED: Final = frozenset(
    ("vm_name", "vm_key", "run", "kind", "consistency", "vcenter", "moref", "inventory_path", "server", "capacity")
)
"""Fields whose values many points share."""


_AT_ONCE: Final = 1000
"""Rows that are taken from the database at a time."""


def listed(repository: str) -> Any:
    """Return the question for all points of a repository, the newest first, each with the fields of an entry."""
    point = PointRow
    question = (
        select(*(getattr(point, each.name) for each in fields(CatalogEntry)))
        .where(point.repository == repository)
        .order_by(point.taken_at.desc(), point.ref.desc())
    )
    return question.execution_options(yield_per=_AT_ONCE)


def entries_of(rows: Iterable[Any]) -> Iterator[CatalogEntry]:
    """Yield the entries of rows that :func:`listed` asks for, which has the columns in the order of the fields."""
    names = [each.name for each in fields(CatalogEntry)]
    shared: dict[Any, Any] = {}
    for row in rows:
        values = [
            shared.setdefault(each, each) if name in _SHARED else each for name, each in zip(names, row, strict=True)
        ]
        yield CatalogEntry(**dict(zip(names, values, strict=True)))
