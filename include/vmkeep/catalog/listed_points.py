"""Gathers the rows of many tables that belong to some points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from vmkeep.catalog.overview_tables import NotedMarkRow, NotedProofRow
from vmkeep.catalog.overview_values import ListedDisk, ListedPoint, NotedMark, NotedProof
from vmkeep.catalog.schema import DiskRow, PointRow
from vmkeep.catalog.statements import parted


def list_rows(session: Session, points: Sequence[PointRow]) -> list[ListedPoint]:
    """Return points with the rows of the other tables that belong to them."""
    disks = _disks_of(session, points)
    marks = _by_point(session, NotedMarkRow, points)
    proofs = _by_point(session, NotedProofRow, points)
    return [
        _listed(point, disks[point.number], marks[point.repository, point.ref], proofs[point.repository, point.ref])
        for point in points
    ]


def _listed(point: PointRow, disks: list[DiskRow], marks: list[Any], proofs: list[Any]) -> ListedPoint:
    return ListedPoint(
        repository=point.repository,
        ref=point.ref,
        id=point.id,
        vm_key=point.vm_key,
        vm_name=point.vm_name,
        taken_at=point.taken_at,
        run=point.run,
        policy=point.policy,
        kind=point.kind,
        consistency=point.consistency,
        capacity=point.capacity,
        bytes_read=point.bytes_read,
        bytes_stored=point.bytes_stored,
        seconds=point.longest,
        warnings=point.warnings,
        vcenter=point.vcenter,
        moref=point.moref,
        inventory_path=point.inventory_path,
        server=point.server,
        addresses=tuple(point.addresses.split()),
        dns_name=point.dns_name,
        disks=tuple(ListedDisk(**fields_of(ListedDisk, vars(each))) for each in disks),
        marks=tuple(NotedMark(**fields_of(NotedMark, vars(each))) for each in marks),
        proofs=tuple(NotedProof(**fields_of(NotedProof, vars(each))) for each in proofs),
    )


def _disks_of(session: Session, points: Sequence[PointRow]) -> dict[int, list[DiskRow]]:
    """Return the disks of some points in the order of their keys, by the number of the point."""
    found: defaultdict[int, list[DiskRow]] = defaultdict(list)
    for some in parted([point.number for point in points]):
        for row in session.scalars(select(DiskRow).where(DiskRow.point.in_(some)).order_by(DiskRow.key)):
            found[row.point].append(row)
    return found


def _by_point(session: Session, table: Any, points: Sequence[PointRow]) -> dict[tuple[str, str], list[Any]]:
    """Return the rows of a table that belong to some points, by repository and ref."""
    found: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    for some in parted([(point.repository, point.ref) for point in points]):
        for row in session.scalars(select(table).where(tuple_(table.repository, table.ref).in_(some))):
            found[(row.repository, row.ref)].append(row)
    return found


def fields_of(kind: Any, values: Any) -> dict[str, Any]:
    """Return the values that the fields of a dataclass have in a row."""
    return {name: values[name] for name in kind.__dataclass_fields__}
