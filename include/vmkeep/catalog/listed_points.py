"""Gathers the rows of many tables that belong to some points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from vmkeep.catalog.overview_tables import NotedMarkRow, NotedProofRow
from vmkeep.catalog.overview_values import ListedDisk, ListedPoint, NotedMark, NotedProof
from vmkeep.catalog.schema import DiskFactRow, DiskRow, FactRow, GuestRow, PointRow, SourceRow
from vmkeep.catalog.statements import parted


def list_rows(session: Session, points: Sequence[PointRow]) -> list[ListedPoint]:
    """Return points with the rows of the other tables that belong to them."""
    facts = _by_point(session, FactRow, points)
    sources = _by_point(session, SourceRow, points)
    guests = _by_point(session, GuestRow, points)
    disks = _by_point(session, DiskRow, points)
    disk_facts = _by_point(session, DiskFactRow, points)
    marks = _by_point(session, NotedMarkRow, points)
    proofs = _by_point(session, NotedProofRow, points)
    found = []
    for point in points:
        at = (point.repository, point.ref)
        fact, source, guest = (next(iter(rows.get(at, ())), None) for rows in (facts, sources, guests))
        details = {each.key: each for each in disk_facts.get(at, ())}
        found.append(
            ListedPoint(
                repository=point.repository,
                ref=point.ref,
                id=point.id,
                vm_key=point.vm_key,
                vm_name=point.vm_name,
                taken_at=point.taken_at,
                run=point.run,
                policy=fact.policy if fact else "",
                kind=point.kind,
                consistency=point.consistency,
                capacity=fact.capacity if fact else 0,
                bytes_read=point.bytes_read,
                bytes_stored=point.bytes_stored,
                seconds=fact.longest if fact else None,
                warnings=point.warnings,
                vcenter=source.vcenter if source else None,
                moref=source.moref if source else None,
                inventory_path=source.inventory_path if source else None,
                server=source.server if source else None,
                addresses=tuple(guest.addresses.split()) if guest else (),
                dns_name=guest.dns_name if guest else None,
                disks=tuple(_disk(each, details.get(each.key)) for each in sorted(disks.get(at, ()), key=_key)),
                marks=tuple(NotedMark(**fields_of(NotedMark, vars(each))) for each in marks.get(at, ())),
                proofs=tuple(NotedProof(**fields_of(NotedProof, vars(each))) for each in proofs.get(at, ())),
            )
        )
    return found


def _by_point(session: Session, table: Any, points: Sequence[PointRow]) -> dict[tuple[str, str], list[Any]]:
    """Return the rows of a table that belong to some points, by repository and ref."""
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for some in parted([(point.repository, point.ref) for point in points]):
        for row in session.scalars(select(table).where(tuple_(table.repository, table.ref).in_(some))):
            found[(row.repository, row.ref)].append(row)
    return found


def _disk(row: DiskRow, fact: DiskFactRow | None) -> ListedDisk:
    return ListedDisk(
        key=row.key,
        label=row.label,
        address=row.address,
        capacity=row.capacity,
        backing=row.backing,
        skipped=row.skipped,
        kind=row.kind,
        reason=row.reason,
        full_reason=fact.full_reason if fact else None,
        bytes_read=fact.bytes_read if fact else 0,
        bytes_stored=fact.bytes_stored if fact else 0,
        tracked=bool(fact and fact.tracked),
    )


def _key(row: DiskRow) -> int:
    return row.key


def fields_of(kind: Any, values: Any) -> dict[str, Any]:
    """Return the values that the fields of a dataclass have in a row."""
    return {name: values[name] for name in kind.__dataclass_fields__}
