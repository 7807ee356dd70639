"""Makes the list of the volumes of a guest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError
from vmkeep.guest.disks import DiskInGuest
from vmkeep.guest.filesystems import KINDS
from vmkeep.guest.lvm import DiskNotInBackup, Finding, FindingCode, LvmState, Severity, VolumeGroup, check, read_lvm
from vmkeep.guest.partitions import PartitionPlace, PartitionTable
from vmkeep.guest.volumes.choosing import choose
from vmkeep.guest.volumes.detecting import READY, Content, Head, Member, detect_all, find_member, unread
from vmkeep.guest.volumes.logical import GroupDisks, shown
from vmkeep.guest.volumes.parts import part_of
from vmkeep.guest.volumes.raid1 import choose_member
from vmkeep.guest.volumes.volume import Volume, Volumes, printable, unique
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.wording import size as worded

_LDM: Final = frozenset({"42", "5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad"})
"""Types of partitions of Windows' dynamic disks, of MBR and of GPT."""
_STORAGE_SPACES: Final = "e75caf8f-f680-4cee-afa3-b001e56efc2d"
_UUID_PART: Final = 6
_NAMED: Final = 8
"""Volumes that a sentence names."""
_PV: Final = "lvm-pv"
_MEMBER: Final = "raid-member"
_RAID1: Final = 1


def find_volumes(disks: Sequence[DiskInGuest], missing: Sequence[DiskNotInBackup] = ()) -> Volumes:
    """List all volumes on the disks of a guest.

    Reads a few blocks of each disk. A volume that cannot be read is in the list, with the reason. So is one of which a
    block of the repository is damaged.

    :param missing: the guest's disks that are not there. A volume that may lie on one of them names it.
    """
    state = read_lvm(disks)
    found, members = _outside_lvm(disks, state)
    arrays = tuple(_arrays(members))
    found.extend(arrays)
    found = [_with_volumes(volume, state) for volume in found]
    by_number = {disk.number: disk for disk in disks}
    physical = _physical_volumes(state, by_number, {name for _, name, _ in members}, arrays)
    found.extend(_logical_volumes(state, physical, check(state, missing)))
    return Volumes(listed=unique(found), lvm=state)


def find_unopened(disks: Sequence[DiskInGuest], state: LvmState) -> tuple[Volume, ...]:
    """List the disks, partitions and arrays in which physical volumes may lie that nobody can see.

    Places with a label of LVM are passed over, and logical volumes are not looked into: LVM takes no physical volume
    from one unless it is told to.

    :param state: all that LVM has on these disks.
    """
    labelled = {(label.place.disk, label.place.number) for label in state.labels}
    found, members = _outside_lvm(disks, state, but=labelled)
    return tuple(volume for volume in (*found, *_arrays(members)) if volume.may_hide_lvm)


_Members = list[tuple[Member, str, RandomDisk]]


def _outside_lvm(
    disks: Sequence[DiskInGuest], state: LvmState, *, but: Container[tuple[int, int]] = ()
) -> tuple[list[Volume], _Members]:
    """Return the disks and partitions of a guest, and those that are members of arrays, with their names.

    :param but: numbers of the disk and the partition of each place to pass over.
    """
    tables = {table.whole.disk: table for table in state.tables}
    found: list[Volume] = []
    members: _Members = []
    for disk in disks:
        if disk.number not in tables:
            found.append(_unreadable_disk(disk, state))
            continue
        for place in tables[disk.number].places:
            if (place.disk, place.number) in but:
                continue
            volume = _place(disk, place, tables[disk.number])
            found.append(volume)
            if volume.disk is not None and (member := _member(volume)) is not None:
                members.append((member, volume.name, volume.disk))
    return found, members


def _unreadable_disk(disk: DiskInGuest, state: LvmState) -> Volume:
    why = next((each.why for each in state.unread if each.place.disk == disk.number), "its partition table is damaged")
    return _lost(disk.name, disk.disk.capacity, "unknown", why)


def _lost(name: str, size: int, kind: str, why: str, warnings: tuple[str, ...] = ()) -> Volume:
    why = "".join(letter if letter.isprintable() else "_" for letter in why)  # it may repeat words of the guest
    return Volume(name=name, size=size, kind=kind, state=f"not readable: {why}", refusal=why, warnings=warnings)


def _place(disk: DiskInGuest, place: PartitionPlace, table: PartitionTable) -> Volume:
    """Return a partition, or a whole disk."""
    below = disk.disk
    if place.number:
        below = part_of(disk.disk, place.start, place.size, what=f"{disk.label}, {place.name}")
    warnings = () if place.number else table.warnings
    if place.type in _LDM:
        content = Content(kind="ldm", refusal=unread("Windows' dynamic disks"))
    elif place.type == _STORAGE_SPACES:
        content = Content(kind="storage-spaces", refusal=unread("Windows' Storage Spaces"))
    elif place.number or not table.partitions:
        return _volume(place.name, below, warnings)
    else:
        return _partitioned(place.name, below, table)
    return _of(place.name, below, content, warnings)


def _partitioned(name: str, disk: RandomDisk, table: PartitionTable) -> Volume:
    """Return a whole disk with partitions. If it bears a file system too, one of the two is left over."""
    parts = _few([place.name for place in table.partitions])
    content = Content(kind=table.kind.value, refusal=f"it has a partition table; files are in {parts}")
    try:
        others = [each for each in detect_all(disk) if each.kind in KINDS]
    except CorruptError:
        others = []
    if not others:
        return _of(name, disk, content, table.warnings)
    choice = choose(disk, others)
    kind = choice.content.kind
    doubt = f"the disk has partitions as well as a file system of its own ({kind}); one of both is left over"
    whole = _of(name, disk, choice.content, (*table.warnings, doubt, *choice.warnings))
    return replace(whole, is_ambiguous=choice.is_ambiguous)


def _volume(name: str, disk: RandomDisk, warnings: tuple[str, ...] = ()) -> Volume:
    """Return a volume with what its signatures tell."""
    damage: list[CorruptError] = []
    try:
        contents = list(detect_all(disk, damage.append))
        if not contents:
            return _of(name, disk, _nameless(disk), warnings)
    except CorruptError as error:
        return _lost(name, disk.capacity, "unknown", str(error), warnings)
    if damage:
        warnings = (*warnings, f"a stored block is damaged, in which another signature could be: {damage[0]}")
    choice = choose(disk, contents)
    return replace(_of(name, disk, choice.content, (*warnings, *choice.warnings)), is_ambiguous=choice.is_ambiguous)


def _nameless(disk: RandomDisk) -> Content:
    """Return the content of a volume without a signature."""
    if any(is_data for _, is_data in disk.extents(0, disk.capacity)):
        return Content(kind="unknown", refusal="no file system that is known is on it")
    return Content(kind="empty", refusal="it is empty")


def _of(name: str, disk: RandomDisk, content: Content, warnings: tuple[str, ...]) -> Volume:
    state, refusal = content.state, content.refusal
    is_cut = content.size > disk.capacity
    if is_cut and not refusal:
        refusal = (
            f"its {content.kind} takes {worded(content.size)}, but the volume has only {worded(disk.capacity)}: a part "
            "of it is missing; take the files from an older restore point"
        )
    if refusal and (state == READY or is_cut):
        state = f"not readable: {refusal}"
    return Volume(
        name=name,
        size=disk.capacity,
        kind=content.kind,
        label=content.label,
        uuid=content.uuid,
        state=state,
        refusal=refusal,
        warnings=warnings,
        is_cut=is_cut,
        disk=disk,
    )


def _with_volumes(volume: Volume, state: LvmState) -> Volume:
    """Return a physical volume with the names of the logical volumes of its group, because the files are in those."""
    if volume.kind != _PV:
        return volume
    group = next((each for each in state.groups if any(pv.uuid == volume.uuid for pv in each.physical_volumes)), None)
    if group is None:
        return volume
    names = [f"{printable(group.name)}/{printable(logical.name)}" for logical in shown(group)]
    refusal = f"it is a part of LVM; files are in {_few(names)}" if names else "it is a part of LVM, without volumes"
    return replace(volume, refusal=refusal, state=f"not readable: {refusal}")


def _few(names: Sequence[str]) -> str:
    """Return the first of some names, in words."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _arrays(members: Sequence[tuple[Member, str, RandomDisk]]) -> Iterator[Volume]:
    """Yield the software arrays of Linux. Those of level 1 can be read, from one of their members."""
    for array in dict.fromkeys(member.array for member, _, _ in members):
        own = [each for each in members if each[0].array == array]
        first = own[0][0]
        name = f"md/{printable(first.name) or array[:8]}"
        size = first.size
        if first.level != _RAID1:
            yield _lost(name, size, "raid", f"no reader for software arrays of level {first.level} is there")
            continue
        chosen = choose_member(member for member, _, _ in own)
        place = next(((where, disk) for member, where, disk in own if member is chosen), None)
        if chosen is None or place is None:
            yield _lost(name, size, "raid", "none of its members on these disks is up to date")
            continue
        where, disk = place
        if chosen.data + chosen.size > disk.capacity:
            yield _lost(name, size, "raid", f"its data reach beyond the end of {where}")
            continue
        inner = part_of(disk, chosen.data, chosen.size, what=name)
        which = f"one of its {len(own)} members" if len(own) > 1 else "the only member"
        yield _volume(name, inner, (f"read from {where}, {which} on these disks",))


def _physical_volumes(
    state: LvmState, disks: Mapping[int, DiskInGuest], members: Container[str], arrays: Sequence[Volume]
) -> dict[str, RandomDisk]:
    """Return the physical volumes that are there, by UUID. One within an array is read through the array only.

    Of duplicates, the one whose metadata were written last is taken.
    """
    found = {
        uuid: part_of(disks[place.disk].disk, place.start, place.size, what=f"{disks[place.disk].label}, {place.name}")
        for uuid, place in state.places.items()
        if place.name not in members
    }
    return found | {array.uuid: array.disk for array in arrays if array.kind == _PV and array.disk is not None}


def _member(volume: Volume) -> Member | None:
    """Return a volume as the member of an array; ``None``: it is none."""
    if volume.disk is None or not (volume.kind == _MEMBER or volume.is_ambiguous):
        return None
    return find_member(Head(volume.disk))


def _logical_volumes(
    state: LvmState, physical: Mapping[str, RandomDisk], findings: Sequence[Finding]
) -> Iterator[Volume]:
    """Yield the logical volumes that a user of the guest sees."""
    names, places = Counter(group.name for group in state.groups), state.places
    failures = [finding for finding in findings if finding.severity is Severity.FAILURE]
    absent = {each.pv: each.text for each in findings if each.code is FindingCode.PV_ON_DISK_NOT_IN_BACKUP}
    for group in state.groups:
        name = printable(group.name)
        if names[group.name] > 1:
            name = f"{name}@{printable(group.uuid[:_UUID_PART])}"
        disks = GroupDisks(group, physical, name=name, absent=absent)
        doubts = tuple(_doubts(failures, group, places))
        for logical in shown(group):
            full = f"{name}/{printable(logical.name)}"
            size = logical.extent_count * group.extent_size
            try:
                mapped = disks.open(logical)
            except (UnsupportedError, CorruptError) as error:
                yield _lost(full, size, "lvm-lv", str(error).removeprefix(f"{full}: "), doubts)
                continue
            yield _volume(full, mapped.disk, (*doubts, *mapped.notes))


def _doubts(failures: Sequence[Finding], group: VolumeGroup, places: Mapping[str, PartitionPlace]) -> Iterator[str]:
    """Yield the failures that throw a doubt on all volumes of a group. A missing disk is told with each volume."""
    own = {volume.uuid for volume in group.physical_volumes}
    for finding in failures:
        is_own = finding.pv in own or (not finding.pv and finding.vg_uuid == group.uuid)
        if is_own and finding.code is not FindingCode.MISSING_PV:
            is_copied = finding.code is FindingCode.DUPLICATE_PV and finding.pv in places
            yield finding.text + (f", and they may differ; read from {places[finding.pv].name}" if is_copied else "")
