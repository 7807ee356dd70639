"""Lists the volumes of a restore point for a scan, and the places where some may be that nobody can list."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.flows.guest_disks import disks_in_guest, disks_not_in_backup
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.lvm import FindingCode, Severity
from vmkeep.guest.lvm import check as check_lvm
from vmkeep.guest.volumes import Volume, Volumes, find_volumes
from vmkeep.model.guestfiles import GuestFileSystem
from vmkeep.model.point import RestorePoint
from vmkeep.model.scanning import ScannedVolume
from vmkeep.transfer import DiskViews

_MAY_HIDE_FILES: Final = frozenset(
    {
        FindingCode.TABLE_DAMAGED, FindingCode.UNREADABLE, FindingCode.PV_ON_RAID, FindingCode.PV_ENCRYPTED,
        FindingCode.PV_ON_DISK_NOT_IN_BACKUP,
    }
)  # fmt: skip
"""Findings about places whose volumes may not all be listed, though LVM itself is in order."""
_LVM_OWN: Final = 1 << 20
_SMALL: Final = 32 << 20
"""Bytes of the largest volume of an unknown kind that counts as one without files, e.g. the loader of a boot."""


def volumes_of(views: DiskViews, point: RestorePoint) -> Volumes:
    """Return the volumes on the disks of a point."""
    return find_volumes(disks_in_guest(views, point), disks_not_in_backup(point))


def lost_volumes(point: RestorePoint, volumes: Volumes) -> Iterator[ScannedVolume]:
    """Yield a volume that cannot be scanned for each place where some may be that nobody can list."""
    for finding in check_lvm(volumes.lvm, disks_not_in_backup(point)):
        if finding.severity is Severity.FAILURE or finding.code in _MAY_HIDE_FILES:
            yield ScannedVolume(name=finding.disk or finding.vg, kind="lvm", problem=finding.text)
    listed = {volume.uuid for group in volumes.lvm.groups for volume in group.physical_volumes}
    for label in volumes.lvm.labels:
        if label.uuid not in listed and not _is_new(volumes, label.place.name):
            why = "no volume group lists this physical volume, so that volumes in it are not known"
            yield ScannedVolume(name=label.place.name, kind="lvm-pv", problem=why)


def _is_new(volumes: Volumes, name: str) -> bool:
    """Return whether nothing was ever written behind the first MiB of a place, where LVM keeps its own data."""
    disk = next((volume.disk for volume in volumes if volume.name == name), None)
    if disk is None:
        return False
    return not any(is_data for _, is_data in disk.extents(min(_LVM_OWN, disk.capacity), disk.capacity))


def is_too_small(volume: Volume) -> bool:
    """Return whether data of no known kind are too small for a file system, as those between partitions are."""
    return volume.kind == "unknown" and volume.size <= _SMALL and volume.disk is not None


@contextmanager
def open_same_before(volume: Volume, older: Volumes | None) -> Iterator[GuestFileSystem | None]:
    """Open the file system that a volume held in an older point; ``None``: it was not there, or was another one."""
    before = None if older is None else next((each for each in older if _is_same(each, volume)), None)
    if before is None:
        yield None
        return
    with ExitStack() as stack:
        files = None
        try:
            files = stack.enter_context(open_file_system(before.open(), before.kind, what=before.name))
        except (CorruptError, UnsupportedError):
            pass  # then all files are scanned
        yield files


def _is_same(older: Volume, volume: Volume) -> bool:
    """Return whether both are one file system: a name alone could be that of another disk in its place."""
    return older.has_files and bool(volume.uuid) and (older.name, older.kind, older.uuid) == (
        volume.name, volume.kind, volume.uuid,
    )  # fmt: skip
