"""Makes the catalog's rows of a restore point, as values by column, because thousands are entered together."""

from __future__ import annotations

from typing import Any, Final

from vmkeep.lateclass import dataclass
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.point import BackupMode, DiskImage, RestorePoint

_WITH_SNAPSHOT: Final = (BackupMode.SNAPSHOT_EXCL_MEM, BackupMode.SNAPSHOT_INCL_MEM)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PointRows:
    """The rows of one point."""

    point: Row
    """The row of the point itself, without the number, which the database gives."""
    disks: list[Row]
    """The rows of its disks, without that number."""


def rows_of(repository: str, point: RestorePoint) -> PointRows:
    """Return all rows of a point.

    :param repository: the id of the repository that holds it.
    """
    images = {image.disk.key: image for image in point.images}
    has_snapshot = _has_snapshot(point)
    disks = [_disk_row(disk, images.get(disk.key), has_snapshot=has_snapshot) for disk in point.disks]
    return PointRows(_point_row(repository, point, disks), disks)


def _point_row(repository: str, point: RestorePoint, disks: list[Row]) -> Row:
    vm, images = point.vm, point.images
    took = [image.seconds for image in images if image.seconds is not None]
    known = bool(images) and len(took) == len(images)
    return {
        "repository": repository,
        "ref": point.ref,
        "id": point.id,
        "vm_key": vm.key,
        "vm_name": vm.name,
        "taken_at": point.taken_at,
        "at": int(point.taken_at.timestamp()),
        "run": point.run,
        "policy": point.policy or "",
        "kind": point.kind.value,
        "consistency": point.consistency.value,
        "disks": len(disks),
        "skipped": sum(disk["skipped"] is not None for disk in disks),
        "capacity": sum(image.disk.capacity for image in images),
        "bytes_read": sum(image.bytes_read for image in images),
        "bytes_stored": sum(image.bytes_stored for image in images),
        "longest": max(took) if known else None,
        "seconds": sum(took) if known else None,
        "warnings": len(point.warnings),
        "vcenter": vm.vcenter,
        "moref": vm.moref,
        "inventory_path": vm.inventory_path,
        "server": vm.server,
        "addresses": " ".join(vm.addresses),
        "dns_name": vm.dns_name,
    }


def _disk_row(disk: Disk, image: DiskImage | None, *, has_snapshot: bool) -> Row:
    """:param image: the content of the disk; ``None``: the disk was skipped."""
    told: Row = {
        "key": disk.key,
        "label": disk.label,
        "address": disk.address,
        "capacity": disk.capacity,
        "backing": disk.backing,
        "skipped": disk.skip and disk.skip.value,
        "unasked": disk.skip is not None and disk.skip is not SkipReason.EXCLUDED and not disk.left_out,
    }
    if image is None:
        of_image = {"kind": None, "reason": None, "full_reason": None, "root": None, "bytes_read": 0}
        return told | of_image | {"bytes_stored": 0, "tracked": False, "expects_tracking": False}
    return told | {
        "kind": image.kind.value,
        "reason": image.reason,
        "full_reason": image.full_reason and image.full_reason.value,
        "root": image.root,
        "bytes_read": image.bytes_read,
        "bytes_stored": image.bytes_stored,
        "tracked": image.change_id is not None,
        "expects_tracking": image.lun is None and has_snapshot,
    }


def _has_snapshot(point: RestorePoint) -> bool:
    """Return whether the disks were read from a snapshot of vSphere. Images of other programs came from files."""
    return point.vm.moref is not None and point.mode_used in _WITH_SNAPSHOT
