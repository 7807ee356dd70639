"""Physical volumes whose disk is not there, and labels that no volume group lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkeep.guest.lvm.reading import active
from vmkeep.guest.lvm.values import (
    DiskNotInBackup,
    Finding,
    FindingCode,
    LvmLabel,
    LvmState,
    PhysicalVolume,
    Severity,
    VolumeGroup,
    named,
)
from vmkeep.guest.partitions import PartitionPlace

_MISSING = "MISSING"
_MAPPED = ("/dev/mapper/", "/dev/dm-")


def absent_volumes(state: LvmState, missing_disks: Sequence[DiskNotInBackup]) -> Iterator[Finding]:
    """Yield a finding for each physical volume that a volume group lists and no disk holds.

    A disk that is not in the backup explains it, if the physical volume fits. So does a place that cannot be read.
    """
    there = {label.uuid for label in state.labels}
    places = state.places
    absent: dict[str, tuple[VolumeGroup, PhysicalVolume]] = {}
    for group in state.groups:
        for volume in group.physical_volumes:
            if _MISSING in volume.flags:
                yield _missing_in_guest(places.get(volume.uuid), group, volume)
            elif volume.uuid not in there:
                absent.setdefault(volume.uuid, (group, volume))
    fitting = _fit({uuid: _size(*each) for uuid, each in absent.items()}, missing_disks)
    for uuid, (group, volume) in absent.items():
        yield _absent(state, group, volume, fitting.get(uuid))


def unlisted_volumes(state: LvmState, missing_disks: Sequence[DiskNotInBackup]) -> Iterator[Finding]:
    """Yield a finding for each label that no volume group lists and that holds no metadata of one itself."""
    listed = {volume.uuid for group in state.groups for volume in group.physical_volumes}
    listed |= {copy.label.uuid for copy, _ in active(state.copies)}
    damaged = {copy.label.place for copy in state.copies if copy.problem} | {unread.place for unread in state.unread}
    for label in state.labels:
        if label.uuid not in listed and label.place not in damaged:
            yield _unlisted(state, label, missing_disks)


def _unlisted(state: LvmState, label: LvmLabel, missing_disks: Sequence[DiskNotInBackup]) -> Finding:
    place = label.place.name
    code, severity = FindingCode.ORPHAN_PV, Severity.NOTE
    text = f"{place} has the label of a physical volume, {label.uuid}, that belongs to no volume group"
    if label.is_used:
        code, severity = FindingCode.METADATA_MISSING, Severity.FAILURE
        text = (
            f"{place} belongs to a volume group by its label, {label.uuid}, but none of the disks holds metadata that "
            f"lists it"
        )
        if missing_disks:
            code, severity = FindingCode.PV_ON_DISK_NOT_IN_BACKUP, Severity.NOTE
            names = ", ".join(disk.label for disk in missing_disks)
            text += f"; it may be on a disk that is not in the backup: {names}"
        elif state.unread:
            code, severity = FindingCode.UNREADABLE, Severity.WARNING
            text += f"; it may be on {state.unread[0].place.name}, which cannot be read"
    return Finding(code=code, severity=severity, pv=label.uuid, disk=place, text=text)


def _missing_in_guest(place: PartitionPlace | None, group: VolumeGroup, volume: PhysicalVolume) -> Finding:
    text = f"{_said(group, volume)} was missing in the guest already, by the metadata of the volume group"
    if place is not None:
        text += f"; it is on {place.name} now, and LVM does not use it before 'vgextend --restoremissing'"
    return Finding(
        code=FindingCode.MISSING_IN_GUEST,
        severity=Severity.NOTE,
        **named(group),
        pv=volume.uuid,
        disk=place.name if place else "",
        text=text,
    )


def _absent(state: LvmState, group: VolumeGroup, volume: PhysicalVolume, disk: DiskNotInBackup | None) -> Finding:
    code, severity, name = FindingCode.MISSING_PV, Severity.FAILURE, ""
    text = f"{_said(group, volume)} is on none of the disks"
    labelled = {label.place for label in state.labels}
    unread = [each.place for each in state.unread if each.place not in labelled]
    passed = [each.disk for each in state.problems if each.pv == volume.uuid]
    if disk is not None:
        code, severity, name = FindingCode.PV_ON_DISK_NOT_IN_BACKUP, Severity.NOTE, disk.label
        how = "has exactly its size" if disk.capacity == _size(group, volume) else "is large enough for it"
        text += f"; {disk.label}, which is not in the backup, {how} ({disk.capacity} bytes)"
    elif state.raids and volume.device.startswith("/dev/md"):
        code, severity, name = FindingCode.PV_ON_RAID, Severity.WARNING, state.raids[0].name
        text += f"; it lay on a software RAID, of which {name} is a member, and only mirrors are looked into"
    elif state.encrypted and volume.device.startswith(_MAPPED):
        code, severity, name = FindingCode.PV_ENCRYPTED, Severity.WARNING, state.encrypted[0].name
        text += f"; it may lie in {name}, which is encrypted, so that only the guest can look into it"
    elif unread:
        code, severity, name = FindingCode.UNREADABLE, Severity.WARNING, unread[0].name
        text += f" that can be read; it may be on {name}"
    elif passed:
        text += f"; its label is on {passed[0]}, which has partitions, so LVM passes over it"
    return Finding(code=code, severity=severity, **named(group), pv=volume.uuid, disk=name, text=text)


def _said(group: VolumeGroup, volume: PhysicalVolume) -> str:
    hint = f", last seen as {volume.device}" if volume.device else ""
    size = _size(group, volume)
    return f"{volume.name} of the volume group {group.name} ({volume.uuid}, {size} bytes{hint})"


def _size(group: VolumeGroup, volume: PhysicalVolume) -> int:
    return volume.dev_size or volume.pe_start + volume.pe_count * group.extent_size


def _fit(sizes: dict[str, int], disks: Sequence[DiskNotInBackup]) -> dict[str, DiskNotInBackup]:
    """Give each physical volume a disk on which it fits: one of exactly its size, else the smallest with room left."""
    room = [disk.capacity for disk in disks]
    fitting: dict[str, DiskNotInBackup] = {}
    by_size = sorted(sizes.items(), key=lambda each: -each[1])
    for is_exact in (True, False):
        for uuid, size in by_size:
            fits = [at for at, left in enumerate(room) if (left == size if is_exact else left >= size)]
            if uuid not in fitting and fits:
                best = min(fits, key=room.__getitem__)
                fitting[uuid] = disks[best]
                room[best] -= size
    return fitting
