"""Looks at the LVM on the disks of a restore point, once, and once more before anything is blamed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.flows.guest_disks import disks_in_guest, disks_not_in_backup
from vmkeep.flows.lvm_values import CheckedGroup
from vmkeep.flows.scan_volumes import is_too_small
from vmkeep.guest.lvm import (
    Finding,
    FindingCode,
    GroupRecord,
    LvmState,
    Severity,
    check,
    read_lvm,
    record_groups,
)
from vmkeep.guest.volumes import find_unopened
from vmkeep.lateclass import dataclass
from vmkeep.model.point import BackupKind, DiskImage, RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer import DiskViews, open_views

_NOT_BY_TRACKING: Final = frozenset({FindingCode.DUPLICATE_PV, FindingCode.VG_LOST_PV, FindingCode.VG_LOST_LV})
"""Failures that no missing write can make: a copy of a disk is attached, or LVM itself has removed something."""
_AGAIN: Final = 8 << 20
"""Bytes of blocks that a second look keeps; too few for any block to be read ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The findings of a look at a restore point."""

    point: RestorePoint
    state: LvmState
    findings: tuple[Finding, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that tell that the point contradicts itself."""
        return tuple(found for found in self.findings if found.severity is Severity.FAILURE)

    @property
    def unread(self) -> tuple[str, ...]:
        """A sentence for each place that could not be read."""
        return tuple(found.text for found in self.findings if found.code is FindingCode.UNREADABLE)

    @property
    def doubts(self) -> tuple[str, ...]:
        """A sentence for each finding that says that nobody can tell whether LVM is in order."""
        return tuple(found.text for found in self.findings if found.severity is Severity.WARNING)

    @property
    def absent(self) -> int:
        """The number of physical volumes that are on disks which the point leaves out."""
        return sum(found.code is FindingCode.PV_ON_DISK_NOT_IN_BACKUP for found in self.findings)

    @property
    def groups(self) -> tuple[CheckedGroup, ...]:
        """The volume groups, by name."""
        groups = (
            CheckedGroup(name=group.name, uuid=group.uuid, seqno=group.seqno, pvs=len(group.physical_volumes))
            for group in self.state.groups
        )
        return tuple(sorted(groups, key=lambda group: (group.name, group.uuid)))

    @property
    def records(self) -> tuple[GroupRecord, ...]:
        """The facts about the volume groups that are kept for the comparison with a later point."""
        return record_groups(self.state)

    def images_of(self, finding: Finding) -> tuple[DiskImage, ...]:
        """Return the disk that a finding names, and those of its volume group; all if it names none of both."""
        own = [group for group in self.state.groups if group.uuid == finding.vg_uuid]
        by_uuid = self.state.places
        places = [by_uuid.get(pv.uuid) for group in own for pv in group.physical_volumes]
        every = (place for table in self.state.tables for place in table.places)
        places += [place for place in every if place.name == finding.disk]
        numbers = {place.disk for place in places if place is not None}
        return tuple(image for number, image in self.point.numbered.items() if not numbers or number in numbers)


class Looks:
    """Looks at restore points of one repository. Thread-safe."""

    def __init__(self, repository: Repository, views: DiskViews) -> None:
        self._repository = repository
        self._views = views

    def at(self, point: RestorePoint, previous: Sequence[GroupRecord]) -> Look:
        """Look at a point.

        :param previous: the volume groups of the point before; empty: none are known.
        :raises CorruptError: the root of a disk's map is damaged.
        """
        return _look(self._views, point, previous)

    def again(self, first: Look, previous: Sequence[GroupRecord]) -> Look:
        """Look once more, at bytes that are fetched from the store again.

        :raises CorruptError: the second look has found something else, so that neither can be believed.
        """
        with open_views(self._repository, cache_size=_AGAIN) as views:
            second = _look(views, first.point, previous)
        if second.findings != first.findings:
            raise CorruptError(
                f"{first.point.ref}: two looks at its LVM have found different things, though each block matched its "
                "digest: test the memory of this machine, then check again"
            )
        return second

    def unopened(self, look: Look) -> Iterator[str]:
        """Yield a sentence for each place in which LVM may lie unseen: an encrypted one, or one of no known kind.

        Places that could not be read are findings already, and left out.

        :raises CorruptError: the root of a disk's map is damaged.
        """
        unread = {each.place.name for each in look.state.unread}
        for volume in find_unopened(disks_in_guest(self._views, look.point), look.state):
            if volume.name not in unread and not is_too_small(volume):
                yield f"{volume.name} ({volume.kind}): {volume.refusal or volume.warnings[-1]}"


def tracked(image: DiskImage) -> bool:
    """Return whether a disk's content rests on change tracking: on the changes it told, without a full audit."""
    audited = image.audit is not None and image.audit.of == 1 and not image.audit.lies
    return image.kind is BackupKind.INCREMENTAL and not audited


def explained(look: Look, finding: Finding, *, before: str) -> Finding:
    """Return a failure whose text also tells what was confirmed, and whether change tracking may be the cause.

    :param before: a clause about the point before; empty: nothing is known of it.
    """
    suspects = [image.disk.label for image in look.images_of(finding) if tracked(image)]
    if finding.code in _NOT_BY_TRACKING:
        cause = "change tracking is not the cause"
    elif suspects:
        cause = f"change tracking may have left out a write to {' or '.join(suspects)}"
    else:
        cause = (
            "change tracking is not the cause, because these disks were read in full: they are not of one instant, or "
            "the guest itself has them so"
        )
    clauses = ["a second look has found the same", *([before] if before else []), cause]
    return replace(finding, text=f"{finding.text}; {'; '.join(clauses)}")


def _look(views: DiskViews, point: RestorePoint, previous: Sequence[GroupRecord]) -> Look:
    disks = disks_in_guest(views, point)
    state = read_lvm(disks)
    absent = disks_not_in_backup(point)
    return Look(point=point, state=state, findings=check(state, absent, previous))
