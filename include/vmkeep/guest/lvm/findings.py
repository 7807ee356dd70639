"""Compares labels and metadata of all disks of a guest, and says what does not fit.

Everything here is pure: it looks at an :class:`~vmkeep.guest.lvm.values.LvmState` and reads no disk.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from vmkeep.guest.lvm.absent import absent_volumes, unlisted_volumes
from vmkeep.guest.lvm.history import lost_since
from vmkeep.guest.lvm.reading import active
from vmkeep.guest.lvm.values import (
    DiskNotInBackup,
    Finding,
    FindingCode,
    GroupRecord,
    LvmState,
    MetadataCopy,
    Severity,
    VolumeGroup,
    named,
)

_SHOWN: Final = 16
"""Areas that one sentence lists."""


def check(
    state: LvmState, missing_disks: Sequence[DiskNotInBackup] = (), previous: Sequence[GroupRecord] = ()
) -> tuple[Finding, ...]:
    """Return all findings about the LVM of one guest, failures first.

    :param missing_disks: the VM's disks that the restore point does not hold.
    :param previous: the volume groups of an earlier restore point of the VM; see :func:`record_groups`.
    """
    found = [
        *_unreadable(state),
        *_tables(state),
        *state.problems,
        *_damaged(state),
        *_duplicates(state),
        *_differing(state),
        *_memberships(state),
        *_empty_areas(state),
        *_beyond(state),
        *absent_volumes(state, missing_disks),
        *unlisted_volumes(state, missing_disks),
        *_ignored(state),
        *lost_since(state, previous),
    ]
    order = list(Severity)
    return tuple(sorted(found, key=lambda finding: order.index(finding.severity)))


def record_groups(state: LvmState) -> tuple[GroupRecord, ...]:
    """Return what is kept of the volume groups, for the check of a later restore point."""
    return tuple(
        GroupRecord(
            uuid=group.uuid,
            name=group.name,
            seqno=group.seqno,
            pvs=tuple(volume.uuid for volume in group.physical_volumes),
            lvs=tuple((volume.uuid, volume.name) for volume in group.logical_volumes if volume.is_visible),
            written_by=group.written_by,
        )
        for group in state.groups
    )


def _unreadable(state: LvmState) -> Iterator[Finding]:
    for unread in state.unread:
        yield Finding(
            code=FindingCode.UNREADABLE,
            severity=Severity.WARNING,
            disk=unread.place.name,
            text=f"{unread.place.name} could not be looked at, because the restore point cannot be read there: "
            f"{unread.why}",
        )


def _tables(state: LvmState) -> Iterator[Finding]:
    for table in state.tables:
        for warning in table.warnings:
            name = table.whole.name
            text = f"the partition table of {name}: {warning}"
            yield Finding(code=FindingCode.TABLE_DAMAGED, severity=Severity.WARNING, disk=name, text=text)


def _damaged(state: LvmState) -> Iterator[Finding]:
    lists = _listing(state)
    for copy in state.copies:
        if copy.problem:
            text = f"{copy.label.place.name}: {copy.problem}"
            yield _about(copy, FindingCode.METADATA_TORN, text, lists.get(copy.label.uuid))


def _about(copy: MetadataCopy, code: FindingCode, text: str, group: VolumeGroup | None) -> Finding:
    return Finding(
        code=code, severity=Severity.FAILURE, **named(group), pv=copy.label.uuid, disk=copy.label.place.name, text=text
    )


def _duplicates(state: LvmState) -> Iterator[Finding]:
    lists = _listing(state)
    first: dict[str, str] = {}
    for label in state.labels:
        place = label.place.name
        if label.uuid in first:
            yield Finding(
                code=FindingCode.DUPLICATE_PV,
                severity=Severity.FAILURE,
                **named(lists.get(label.uuid)),
                pv=label.uuid,
                disk=place,
                text=f"{place} and {first[label.uuid]} are the same physical volume {label.uuid}: one is a copy",
            )
        first.setdefault(label.uuid, place)


def _differing(state: LvmState) -> Iterator[Finding]:
    """Yield a finding for each group whose areas do not agree."""
    for group in state.groups:
        left_behind = {volume.uuid for volume in group.physical_volumes if "MISSING" in volume.flags}
        copies = [
            (copy, its)
            for copy, its in active(state.copies)
            if its.uuid == group.uuid and copy.label.uuid not in left_behind
        ]
        yield from _numbers(group, copies)
        yield from _texts(group, copies)


def _numbers(group: VolumeGroup, copies: Sequence[tuple[MetadataCopy, VolumeGroup]]) -> Iterator[Finding]:
    """Yield a finding if sequence numbers differ. A change that LVM was just committing is none to blame."""
    newest = {copy.checksum for copy, its in copies if its.seqno == group.seqno}
    stale = [copy for copy, its in copies if its.seqno < group.seqno]
    if not stale:
        return
    code, severity = FindingCode.SEQNO_DIFFERS, Severity.FAILURE
    why = "they are of different times"
    if all(copy.precommitted in newest for copy in stale):
        code, severity = FindingCode.COMMIT_UNDER_WAY, Severity.NOTE
        why = "LVM was just committing the change, and finishes that by itself"
    shown = ", ".join(f"{_name(copy)} has {its.seqno}" for copy, its in copies[:_SHOWN])
    if len(copies) > _SHOWN:
        shown += f", and {len(copies) - _SHOWN} more"
    yield Finding(
        code=code,
        severity=severity,
        **named(group),
        pv=stale[0].label.uuid,
        disk=stale[0].label.place.name,
        text=f"the sequence numbers of {_vg(group)} differ: {shown}; {why}",
    )


def _texts(group: VolumeGroup, copies: Sequence[tuple[MetadataCopy, VolumeGroup]]) -> Iterator[Finding]:
    """Yield a finding for each sequence number under which there are several texts."""
    by_number: defaultdict[int, dict[int | None, MetadataCopy]] = defaultdict(dict)
    for copy, its in copies:
        by_number[its.seqno].setdefault(copy.checksum, copy)
    for number, texts in by_number.items():
        if len(texts) > 1:
            one, other = list(texts.values())[:2]
            text = (
                f"{_name(one)} and {_name(other)} hold different texts of {_vg(group)} under the sequence number "
                f"{number}: they were changed apart from each other"
            )
            yield _about(other, FindingCode.CHECKSUM_DIFFERS, text, group)


def _memberships(state: LvmState) -> Iterator[Finding]:
    """Yield findings about physical volumes that several groups list, or that their own group does not."""
    listed: defaultdict[str, list[VolumeGroup]] = defaultdict(list)
    for group in state.groups:
        for volume in group.physical_volumes:
            listed[volume.uuid].append(group)
    places = state.places
    for uuid, groups in listed.items():
        if len(groups) > 1:
            place = places.get(uuid)
            shown = " and ".join(f"{_vg(group)} with the sequence number {group.seqno}" for group in groups)
            yield Finding(
                code=FindingCode.PV_IN_TWO_VGS,
                severity=Severity.FAILURE,
                **named(groups[0]),
                pv=uuid,
                disk=place.name if place else "",
                text=f"the physical volume {uuid} is listed by {shown}",
            )
    truth = {group.uuid: group for group in state.groups}
    members = {group.uuid: {volume.uuid for volume in group.physical_volumes} for group in state.groups}
    told = set()
    for copy, group in active(state.copies):
        newest = truth[group.uuid]
        key = (copy.label.place, group.uuid)
        if key not in told and copy.label.uuid not in members[group.uuid]:
            told.add(key)
            text = (
                f"{copy.label.place.name} holds metadata of {_vg(newest)} with the sequence number {group.seqno}, "
                f"but the newest one, {newest.seqno}, does not list it"
            )
            yield _about(copy, FindingCode.PV_NOT_IN_VG, text, newest)


def _empty_areas(state: LvmState) -> Iterator[Finding]:
    lists = _listing(state)
    for copy in state.copies:
        group = lists.get(copy.label.uuid)
        if group is not None and copy.group is None and not copy.problem and not copy.is_ignored:
            text = f"{_name(copy)} holds no metadata, but the physical volume belongs to {_vg(group)}"
            yield _about(copy, FindingCode.METADATA_MISSING, text, group)


def _beyond(state: LvmState) -> Iterator[Finding]:
    """Yield a finding for each physical volume that does not fit on its disk, e.g. because the disk was cut."""
    lists = _listing(state)
    sizes = {volume.uuid: volume.dev_size for group in state.groups for volume in group.physical_volumes}
    for label in state.labels:
        size = sizes.get(label.uuid, 0)
        if size > label.place.size:
            yield Finding(
                code=FindingCode.PV_BEYOND_DISK,
                severity=Severity.WARNING,
                **named(lists.get(label.uuid)),
                pv=label.uuid,
                disk=label.place.name,
                text=f"{label.place.name} has {label.place.size} bytes, and {size} as a physical volume of "
                f"{_vg(lists[label.uuid])}: its end is not there",
            )


def _ignored(state: LvmState) -> Iterator[Finding]:
    lists = _listing(state)
    for copy in state.copies:
        if copy.is_ignored:
            yield Finding(
                code=FindingCode.IGNORED_AREA,
                severity=Severity.NOTE,
                **named(lists.get(copy.label.uuid)),
                pv=copy.label.uuid,
                disk=copy.label.place.name,
                text=f"{_name(copy)} is ignored by LVM, on request, so what it holds may be old",
            )


def _listing(state: LvmState) -> dict[str, VolumeGroup]:
    """Return the group that lists each physical volume; of several, one."""
    return {volume.uuid: group for group in state.groups for volume in group.physical_volumes}


def _name(copy: MetadataCopy) -> str:
    """Return the name of a copy; the area is told where a physical volume has two."""
    place = copy.label.place.name
    return f"area {copy.area} of {place}" if copy.label.areas > 1 else place


def _vg(group: VolumeGroup) -> str:
    return f"the volume group {group.name} ({group.uuid})"
