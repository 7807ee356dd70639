"""Matches the disks of a restore point to the disks of an existing VM. Pure.

A disk is recognised by its place (controller, bus, unit), its UUID and its capacity. Its file's name is never used,
because every snapshot changes it. A request may name the target of a disk itself; then only capacity and kind count.
"""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.errors import ConflictError
from vmkeep.flows.disk_targets import ALL, DiskTargets
from vmkeep.flows.restore_values import DiskMatch
from vmkeep.model.disk import Disk, SkipReason
from vmkeep.model.fieldwords import named
from vmkeep.model.point import RestorePoint
from vmkeep.model.wording import exact_size, size

_UNWRITABLE = (SkipReason.PHYSICAL_RDM, SkipReason.SHARED, SkipReason.UNSUPPORTED_BACKING)
"""Reasons to skip a disk that also forbid writing it. An independent disk is in no snapshot, but can be written."""
_NOT_CHOSEN = "not chosen by this restore, left as it is"
_CHOICES = (
    f"name the target of a disk with {named('disk_map')}, write only some disks with {named('disks')}, or attach a "
    "disk as a new one ('vmkeep restore disk')"
)


def match_disks(point: RestorePoint, target_disks: Sequence[Disk], wanted: DiskTargets = ALL) -> tuple[DiskMatch, ...]:
    """Match every disk of a point with a disk that the VM has now. Disks not backed up count as not written.

    :param wanted: the disks to write, and the targets that the request names.
    :raises ConflictError: some copied disk has no target; the message lists every problem.
    """
    problems: list[str] = []
    left_out = [image.disk for image in point.images if wanted.leaves_out(image.disk)]
    images = [image for image in point.images if image.disk not in left_out]
    named = wanted.mapped.keys() | (wanted.chosen or frozenset())
    kept = [
        image.disk
        for image in images
        if image.lun is not None and image.disk.key not in named and not _is_ordinary(image.disk, target_disks)
    ]
    matches = [_match(image.disk, target_disks, wanted, problems) for image in images if image.disk not in kept]
    taken: dict[int, str] = {}
    for match in matches:
        if match is not None and match.target_key is not None:
            other = taken.setdefault(match.target_key, match.disk.label)
            if other != match.disk.label:
                problems.append(f"{other} and {match.disk.label} would go onto the same disk {match.target_key}")
    if problems:
        found = "; ".join(problems)
        raise ConflictError(f"the VM's disks do not fit {point.ref}, nothing was written: {found}. {_CHOICES}")
    written = [match for match in matches if match is not None]
    not_chosen = (DiskMatch(disk=disk, target_key=None, written=False, note=_NOT_CHOSEN) for disk in left_out)
    return (*written, *not_chosen, *map(_left, kept), *(_not_written(disk) for disk in point.skipped))


def _is_ordinary(disk: Disk, targets: Sequence[Disk]) -> bool:
    """Return whether the VM has an ordinary disk at the place of a saved physical RDM."""
    return any(target.address == disk.address and not target.physical_rdm for target in targets)


def _left(disk: Disk) -> DiskMatch:
    why = "its content was read from a LUN, and no restore writes to a LUN; export it, or write it to a new VM's disk"
    return DiskMatch(disk=disk, target_key=None, written=False, note=f"left as it is: {why}")


def _match(disk: Disk, targets: Sequence[Disk], wanted: DiskTargets, problems: list[str]) -> DiskMatch | None:
    """Find one disk's target: the named one, else by place or by UUID. Where the last two disagree, there is none."""
    where = f"{disk.label} ({disk.address}, {size(disk.capacity)})"
    if (named := wanted.mapped.get(disk.key)) is not None:
        return _fit(
            disk, f"{where}, mapped to {named.label} ({named.address})", named, problems, told="mapped as asked"
        )
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


def _fit(disk: Disk, where: str, target: Disk, problems: list[str], *, told: str = "") -> DiskMatch | None:
    if target.capacity != disk.capacity:
        problems.append(f"{where}: the disk there has {exact_size(target.capacity)}, not {exact_size(disk.capacity)}")
        return None
    if target.skip in _UNWRITABLE:
        problems.append(f"{where}: the disk there cannot be written: {target.why_skipped}")
        return None
    known = disk.uuid is None or target.uuid == disk.uuid
    strange = "" if known else "matched by place and capacity: it is not the same disk as when it was backed up"
    in_clear = "was encrypted, and the disk there is not, so that its content lies in clear"
    notes = (told or strange, in_clear if disk.key_id is not None and target.key_id is None else "")
    return DiskMatch(disk=disk, target_key=target.key, written=True, note="; ".join(filter(None, notes)))


def _not_written(disk: Disk) -> DiskMatch:
    why = disk.why_skipped or "not copied"
    return DiskMatch(disk=disk, target_key=None, written=False, note=f"not in the backup, left as it is: {why}")
