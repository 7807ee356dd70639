"""Compares volume groups with those of an earlier restore point.

A physical volume that somebody removed from its group because it was missing leaves a group that is consistent in
itself. Only the earlier restore point shows the loss.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkeep.guest.lvm.values import Finding, FindingCode, GroupRecord, LvmState, Severity, VolumeGroup, named

_REMOVED = "removemissing"
"""Word of the command that takes missing physical volumes out of a group, and cuts logical volumes off with them."""


def lost_since(state: LvmState, previous: Sequence[GroupRecord]) -> Iterator[Finding]:
    """Yield a finding for each physical or logical volume that its group had before, and has no more."""
    now = {group.uuid: group for group in state.groups}
    for record in previous:
        group = now.get(record.uuid)
        if group is not None:
            yield from _lost(record, group)
        elif not state.unread:
            yield _gone(state, record)


def _lost(record: GroupRecord, group: VolumeGroup) -> Iterator[Finding]:
    by = f"; the last change was by {group.written_by or 'an unknown machine'}: {group.description}"
    physical = {volume.uuid for volume in group.physical_volumes}
    is_removal = _REMOVED in group.description
    for uuid in record.pvs:
        if uuid not in physical:
            yield Finding(
                code=FindingCode.VG_LOST_PV,
                severity=Severity.FAILURE if is_removal else Severity.WARNING,
                **named(group),
                pv=uuid,
                text=f"the volume group {group.name} had the physical volume {uuid} before, and lists it no more{by}",
            )
    logical = {volume.uuid for volume in group.logical_volumes}
    for uuid, name in record.lvs:
        if uuid not in logical:
            yield Finding(
                code=FindingCode.VG_LOST_LV,
                severity=Severity.FAILURE if is_removal else Severity.NOTE,
                **named(group),
                text=f"the volume group {group.name} had the logical volume {name} ({uuid}) before, and has it no "
                f"more{by}",
            )


def _gone(state: LvmState, record: GroupRecord) -> Finding:
    has_labels = any(label.uuid in record.pvs for label in state.labels)
    text = f"the volume group {record.name} ({record.uuid}) was there before, and none of the disks has it now"
    if has_labels:
        text += "; labels of its physical volumes are still there, as after 'vgremove'"
    return Finding(
        code=FindingCode.VG_LOST_PV,
        severity=Severity.NOTE if has_labels else Severity.WARNING,
        **named(record),
        text=text,
    )
