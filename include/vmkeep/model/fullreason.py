"""The reasons why a whole disk is read although an earlier restore point of its VM may exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum

from vmkeep.lateclass import dataclass


class FullReason(StrEnum):
    """The reason for a full read, as data. Manifests hold these words, so that none may change its meaning."""

    ASKED = "asked"
    NO_POINT = "no-point"
    NEW_DISK = "new-disk"
    POINT_UNREADABLE = "point-unreadable"
    POINT_REMOVED = "point-removed"
    POINT_DAMAGED = "point-damaged"
    POINT_SUSPECT = "point-suspect"
    OTHER_VM = "other-vm"
    OTHER_DISK = "other-disk"
    UNKNOWN_DISK = "unknown-disk"
    RESIZED = "resized"
    MOVED = "moved"
    REVERTED = "reverted"
    NO_SNAPSHOT = "no-snapshot"
    NOT_TRACKED = "not-tracked"
    SNAPSHOTS_IN_THE_WAY = "snapshots-in-the-way"
    NO_CHANGE_ID = "no-change-id"
    SAME_CHANGE_ID = "same-change-id"
    TRACKING_RESET = "tracking-reset"
    QUERY_FAILED = "query-failed"
    QUERY_SLOW = "query-slow"
    ANSWER_UNFIT = "answer-unfit"
    TRACKING_LIED = "tracking-lied"
    OTHER = "other"

    @classmethod
    def _missing_(cls, _value: object) -> FullReason:
        """Read a reason of a newer program as :attr:`OTHER`, because a manifest has to stay readable."""
        return cls.OTHER

    @property
    def expected(self) -> bool:
        """Whether nobody has to be told, because the read was asked for or there is nothing to continue."""
        return self in (FullReason.ASKED, FullReason.NO_POINT, FullReason.NEW_DISK)

    @property
    def why(self) -> str:
        """The reason in words, for counts and notes. The disk's own ``reason`` names ids and sizes."""
        return _WHY[self]


_WHY = {
    FullReason.ASKED: "a full was asked for",
    FullReason.NO_POINT: "the VM has no restore point to continue",
    FullReason.NEW_DISK: "the last restore point does not hold the disk",
    FullReason.POINT_UNREADABLE: "the last restore point cannot be read",
    FullReason.POINT_REMOVED: "the last restore point was removed during the backup",
    FullReason.POINT_DAMAGED: "the last restore point is damaged",
    FullReason.POINT_SUSPECT: "the last restore point is marked suspect",
    FullReason.OTHER_VM: "the last restore point is of another VM",
    FullReason.OTHER_DISK: "the disk is another one than in the last restore point",
    FullReason.UNKNOWN_DISK: "nothing proves that the disk is the one in the last restore point",
    FullReason.RESIZED: "the disk was resized",
    FullReason.MOVED: "the disk is another file than before",
    FullReason.REVERTED: "the disk went back to an earlier state",
    FullReason.NO_SNAPSHOT: "the disk is read without a snapshot, so that vSphere tells no changes",
    FullReason.NOT_TRACKED: "vSphere does not track the disk's changes",
    FullReason.SNAPSHOTS_IN_THE_WAY: "change tracking may not be switched on, because the VM has snapshots",
    FullReason.NO_CHANGE_ID: "the last restore point has no change id of the disk",
    FullReason.SAME_CHANGE_ID: "the change id did not move on, so that changes may not be counted",
    FullReason.TRACKING_RESET: "change tracking was reset",
    FullReason.QUERY_FAILED: "vSphere could not tell the changes",
    FullReason.QUERY_SLOW: "vSphere took too long to tell the changes",
    FullReason.ANSWER_UNFIT: "vSphere's answer about the changes does not fit the disk",
    FullReason.TRACKING_LIED: "change tracking had left out a change",
    FullReason.OTHER: "a newer program recorded the reason",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FullRead:
    """A decision to read a whole disk."""

    reason: FullReason
    text: str
    """The reason in words, with the ids, sizes and names of this case."""


def count_reasons(reasons: Iterable[FullReason | None]) -> dict[str, int]:
    """Return the number of disks that were read in full, by reason. Disks without a reason do not count."""
    return dict(sorted(Counter(reason.value for reason in reasons if reason is not None).items()))
