"""Makes the catalog's rows of a restore point."""

from __future__ import annotations

from typing import Final

from vmkeep.catalog.schema import DiskFactRow, DiskRow, FactRow, GuestRow, PointRow, SourceRow
from vmkeep.model.disk import SkipReason
from vmkeep.model.point import BackupMode, RestorePoint

TABLES: Final = (DiskFactRow, DiskRow, FactRow, GuestRow, SourceRow, PointRow)
"""The tables that hold a point, in the order in which its rows are deleted: others refer to that of points."""
_WITH_SNAPSHOT: Final = (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM)


def point_row(repository: str, point: RestorePoint) -> PointRow:
    """Return the row of a point."""
    return PointRow(
        repository=repository,
        ref=point.ref,
        id=point.id,
        vm_key=point.vm.key,
        vm_name=point.vm.name,
        taken_at=point.taken_at,
        run=point.run,
        kind=point.kind,
        consistency=point.consistency,
        bytes_read=sum(image.bytes_read for image in point.images),
        bytes_stored=sum(image.bytes_stored for image in point.images),
        warnings=len(point.warnings),
    )


def source_row(repository: str, point: RestorePoint) -> SourceRow:
    """Return the row of the VM that a point was taken of."""
    vm = point.vm
    return SourceRow(
        repository=repository,
        ref=point.ref,
        vcenter=vm.vcenter,
        moref=vm.moref,
        inventory_path=vm.inventory_path,
        server=vm.server,
    )


def guest_row(repository: str, point: RestorePoint) -> GuestRow:
    """Return the row of the guest of a point's VM."""
    return GuestRow(
        repository=repository,
        ref=point.ref,
        addresses=" ".join(point.vm.addresses),
        dns_name=point.vm.dns_name,
    )


def fact_row(repository: str, point: RestorePoint) -> FactRow:
    """Return the facts of a point that checks of data quality compare."""
    images = point.images
    took = [image.seconds for image in images if image.seconds is not None]
    known = bool(images) and len(took) == len(images)
    return FactRow(
        repository=repository,
        ref=point.ref,
        vm_key=point.vm.key,
        vm_name=point.vm.name,
        at=int(point.taken_at.timestamp()),
        policy=point.policy or "",
        kind=point.kind,
        capacity=sum(image.disk.capacity for image in images),
        bytes_read=sum(image.bytes_read for image in images),
        bytes_stored=sum(image.bytes_stored for image in images),
        longest=max(took) if known else None,
        seconds=sum(took) if known else None,
    )


def disk_rows(repository: str, point: RestorePoint) -> list[DiskRow | DiskFactRow]:
    """Return the rows of a point's disks, copied and skipped."""
    images = {image.disk.key: image for image in point.images}
    rows: list[DiskRow | DiskFactRow] = []
    for disk in point.disks:
        image = images.get(disk.key)
        rows.append(
            DiskRow(
                repository=repository,
                ref=point.ref,
                key=disk.key,
                label=disk.label,
                address=disk.address,
                capacity=disk.capacity,
                backing=disk.backing,
                skipped=disk.skip,
                kind=image.kind if image else None,
                reason=image.reason if image else None,
                root=image.root if image else None,
            )
        )
        rows.append(
            DiskFactRow(
                repository=repository,
                ref=point.ref,
                key=disk.key,
                bytes_read=image.bytes_read if image else 0,
                bytes_stored=image.bytes_stored if image else 0,
                full_reason=image.full_reason if image else None,
                tracked=image is not None and image.change_id is not None,
                expects_tracking=image is not None and image.lun is None and _has_snapshot(point),
                unasked=disk.skip is not None and disk.skip is not SkipReason.EXCLUDED and not disk.left_out,
            )
        )
    return rows


def _has_snapshot(point: RestorePoint) -> bool:
    """Return whether the disks were read from a snapshot of vSphere. Images of other programs came from files."""
    return point.vm.moref is not None and point.mode_used in _WITH_SNAPSHOT
