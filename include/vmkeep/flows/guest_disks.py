"""The disks of a restore point, in the guest's own order, for those who look into the guest."""

from __future__ import annotations

from vmkeep.guest import DiskInGuest
from vmkeep.guest.lvm import DiskNotInBackup
from vmkeep.model.point import RestorePoint
from vmkeep.transfer import DiskViews


def disks_in_guest(views: DiskViews, point: RestorePoint) -> list[DiskInGuest]:
    """Open the disks that a point holds.

    :raises CorruptError: the root of a disk's map is damaged.
    """
    return [
        DiskInGuest(
            number=number,
            label=image.disk.label,
            disk=views.open(image.root, what=f"restore point {point.ref}, {image.disk.label}"),
        )
        for number, image in point.numbered.items()
    ]


def disks_not_in_backup(point: RestorePoint) -> list[DiskNotInBackup]:
    """Return the disks that the VM has and that the point left out, so that what is missing of a volume has a name."""
    return [DiskNotInBackup(label=disk.label, capacity=disk.capacity) for disk in point.skipped]
