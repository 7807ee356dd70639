"""Makes the catalog's rows of a restore point, as values by column, because thousands are entered together."""

from __future__ import annotations

from typing import Any, Final

from vmkeep.catalog.schema import Base, DiskFactRow, DiskRow, FactRow, GuestRow, PointRow, SourceRow
from vmkeep.model.disk import SkipReason
from vmkeep.model.point import BackupMode, RestorePoint

TABLES: Final = (DiskFactRow, DiskRow, FactRow, GuestRow, SourceRow, PointRow)
"""The tables that hold a point, in the order in which its rows are deleted: others refer to that of points."""
_WITH_SNAPSHOT: Final = (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM)

Row = dict[str, Any]
PointRows = dict[type[Base], list[Row]]
"""The rows of one point by their table."""


def rows_of(repository: str, point: RestorePoint) -> PointRows:
    """Return all rows of a point.

    :param repository: the id of the repository that holds it.
    """
    own = {"repository": repository, "ref": point.ref}
    disks, disk_facts = _disk_rows(own, point)
    return {
        PointRow: [own | _point_row(point)],
        SourceRow: [own | _source_row(point)],
        GuestRow: [own | {"addresses": " ".join(point.vm.addresses), "dns_name": point.vm.dns_name}],
        FactRow: [own | _fact_row(point)],
        DiskRow: disks,
        DiskFactRow: disk_facts,
    }


def _point_row(point: RestorePoint) -> Row:
    return {
        "id": point.id,
        "vm_key": point.vm.key,
        "vm_name": point.vm.name,
        "taken_at": point.taken_at,
        "run": point.run,
        "kind": point.kind,
        "consistency": point.consistency,
        "bytes_read": sum(image.bytes_read for image in point.images),
        "bytes_stored": sum(image.bytes_stored for image in point.images),
        "warnings": len(point.warnings),
    }


def _source_row(point: RestorePoint) -> Row:
    """Return the row of the VM that a point was taken of."""
    vm = point.vm
    return {"vcenter": vm.vcenter, "moref": vm.moref, "inventory_path": vm.inventory_path, "server": vm.server}


def _fact_row(point: RestorePoint) -> Row:
    """Return the facts of a point that checks of data quality compare."""
    images = point.images
    took = [image.seconds for image in images if image.seconds is not None]
    known = bool(images) and len(took) == len(images)
    return {
        "vm_key": point.vm.key,
        "vm_name": point.vm.name,
        "at": int(point.taken_at.timestamp()),
        "policy": point.policy or "",
        "kind": point.kind,
        "capacity": sum(image.disk.capacity for image in images),
        "bytes_read": sum(image.bytes_read for image in images),
        "bytes_stored": sum(image.bytes_stored for image in images),
        "longest": max(took) if known else None,
        "seconds": sum(took) if known else None,
    }


def _disk_rows(own: Row, point: RestorePoint) -> tuple[list[Row], list[Row]]:
    """Return the rows of a point's disks, copied and skipped, and those of their facts."""
    images = {image.disk.key: image for image in point.images}
    rows, facts = [], []
    for disk in point.disks:
        image = images.get(disk.key)
        of_disk = own | {"key": disk.key}
        rows.append(
            of_disk
            | {
                "label": disk.label,
                "address": disk.address,
                "capacity": disk.capacity,
                "backing": disk.backing,
                "skipped": disk.skip,
                "kind": image.kind if image else None,
                "reason": image.reason if image else None,
                "root": image.root if image else None,
            }
        )
        facts.append(
            of_disk
            | {
                "bytes_read": image.bytes_read if image else 0,
                "bytes_stored": image.bytes_stored if image else 0,
                "full_reason": image.full_reason if image else None,
                "tracked": image is not None and image.change_id is not None,
                "expects_tracking": image is not None and image.lun is None and _has_snapshot(point),
                "unasked": disk.skip is not None and disk.skip is not SkipReason.EXCLUDED and not disk.left_out,
            }
        )
    return rows, facts


def _has_snapshot(point: RestorePoint) -> bool:
    """Return whether the disks were read from a snapshot of vSphere. Images of other programs came from files."""
    return point.vm.moref is not None and point.mode_used in _WITH_SNAPSHOT
