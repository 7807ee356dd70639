"""Matches the disks of a restore point to the disks of an existing VM. Pure.

A disk is recognised by its place (controller, bus, unit), its UUID and its capacity. Its file's name is never used,
because every snapshot changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import ConflictError
from vmkeep.flows.values import DiskMatch
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.point import RestorePoint
from vmkeep.model.wording import exact_size, size

_UNWRITABLE = (SkipReason.PHYSICAL_RDM, SkipReason.SHARED, SkipReason.UNSUPPORTED_BACKING)
"""Reasons to skip a disk that also forbid writing it. An independent disk is in no snapshot, but can be written."""


def match_disks(point: RestorePoint, target_disks: Sequence[Disk]) -> tuple[DiskMatch, ...]:
    """Match every disk of a point with a disk that the VM has now. Disks not backed up count as not written.

    :raises ConflictError: some copied disk has no target; the message lists every problem.
    """
    problems: list[str] = []
    kept = [
        image.disk for image in point.images if image.lun is not None and not _is_ordinary(image.disk, target_disks)
    ]
    matches = [_match(image.disk, target_disks, problems) for image in point.images if image.disk not in kept]
    taken: dict[int, str] = {}
    for match in matches:
        if match is not None and match.target_key is not None:
            other = taken.setdefault(match.target_key, match.disk.label)
            if other != match.disk.label:
                problems.append(f"{other} and {match.disk.label} would go onto the same disk {match.target_key}")
    if problems:
        raise ConflictError(f"the VM's disks do not fit {point.ref}, nothing was written: {'; '.join(problems)}")
    written = [match for match in matches if match is not None]
    return (*written, *map(_left, kept), *(_not_written(disk) for disk in point.skipped))


def _is_ordinary(disk: Disk, targets: Sequence[Disk]) -> bool:
    """Return whether the VM has an ordinary disk at the place of a saved physical RDM."""
    return any(target.address == disk.address and not target.physical_rdm for target in targets)


def _left(disk: Disk) -> DiskMatch:
    why = "its content was read from a LUN, and no restore writes to a LUN; export it, or write it to a new VM's disk"
    return DiskMatch(disk=disk, target_key=None, written=False, note=f"left as it is: {why}")


def _match(disk: Disk, targets: Sequence[Disk], problems: list[str]) -> DiskMatch | None:
    """Find one disk's target by place or by UUID. Where the two disagree, neither is trusted, and there is none."""
    where = f"{disk.label} ({disk.address}, {size(disk.capacity)})"
    by_place = next((target for target in targets if target.address == disk.address), None)
    by_uuid = [target for target in targets if disk.uuid is not None and target.uuid == disk.uuid]
    if len(by_uuid) > 1:
        problems.append(f"{where}: {len(by_uuid)} disks of the VM have its UUID")
        return None
    same = by_uuid[0] if by_uuid else None
    if same is not None and same is not by_place:
        found = f"; at its place is {by_place.label}" if by_place is not None else ""
        problems.append(f"{where}: the disk with its UUID is now at {same.address}{found}: move it back")
        return None
    if by_place is None:
        problems.append(f"{where}: the VM has no disk at {disk.address}")
        return None
    return _fit(disk, where, by_place, problems)


def _fit(disk: Disk, where: str, target: Disk, problems: list[str]) -> DiskMatch | None:
    if target.capacity != disk.capacity:
        problems.append(f"{where}: the disk there has {exact_size(target.capacity)}, not {exact_size(disk.capacity)}")
        return None
    if target.skip in _UNWRITABLE:
        problems.append(f"{where}: the disk there cannot be written: {target.why_skipped}")
        return None
    known = disk.uuid is None or target.uuid == disk.uuid
    note = "" if known else "matched by place and capacity: it is not the same disk as when it was backed up"
    return DiskMatch(disk=disk, target_key=target.key, written=True, note=note)


def _not_written(disk: Disk) -> DiskMatch:
    why = disk.why_skipped or "not copied"
    return DiskMatch(disk=disk, target_key=None, written=False, note=f"not in the backup, left as it is: {why}")
