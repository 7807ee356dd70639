"""The honesty audit of change tracking: the blocks that a run reads although nothing changed there, and the outcome.

Change tracking may leave out a change without an error, and then every later point is wrong. So each increment reads a
sample of the blocks that did not change, and compares them with the last point. The samples rotate: after ``of`` runs
every block was read once, whatever the size of the disk.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.errors import UsageError
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent

SHARE = 0.01
"""The share of a disk's blocks that one run reads, if nothing else is asked for."""
_LARGEST_UNIT = 64
"""Most blocks that are read together. They lie on one page of the last point's map, and are read in sequence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """The sample of one run."""

    phase: int
    """The number of this sample, from 0 to ``of`` - 1."""
    of: int
    """The number of runs that together read every block."""

    def __post_init__(self) -> None:
        """Refuse a sample that no rotation reaches."""
        if not 0 <= self.phase < self.of:
            raise UsageError(f"an audit has no sample {self.phase} of {self.of}")

    def sample(self, capacity: int, block_size: int) -> Iterator[Extent]:
        """Yield the extents of the sample, as whole blocks of a disk, in order. The samples of all phases are disjoint.

        Blocks are sampled in units of neighbours, which are cheaper to read than scattered ones. A small disk has small
        units, so that every run reads its share.
        """
        blocks = -(-capacity // block_size)
        unit = min(max(blocks // self.of, 1), _LARGEST_UNIT) * block_size
        for start in range(self.phase * unit, capacity, self.of * unit):
            yield Extent(start, min(start + unit, capacity))


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """The outcome of one run's audit of one disk."""

    phase: int
    of: int
    blocks: int = 0
    """Number of blocks that were read and compared."""
    bytes_read: int = 0
    lies: int = 0
    """Number of blocks whose content differs from the last point, although nothing is said to have changed there."""
    first_lie: int | None = None
    """Offset of the first such block on the disk, in bytes."""


def runs_of(share: float) -> int:
    """Return the number of runs that read a whole disk in shares; 0: nothing is read.

    :raises UsageError: the share is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share of unchanged blocks to audit is from 0 to 1, not {share}")
    return -int(-1 // share) if share else 0


def next_audit(last: Audit | None, *, of: int, root: str) -> AuditPlan | None:
    """Return the sample after that of the last point; ``None``: nothing is read.

    A point that was read in full, or that an older program wrote, had no sample. Its map's root decides where the
    rotation begins, so that the VMs of a site do not all begin with the same part.

    :param root: root of the map of the last point's disk, in hex.
    """
    if not of:
        return None
    if last is not None and last.of == of:
        return AuditPlan(phase=(last.phase + 1) % of, of=of)
    return AuditPlan(phase=int(root[:8], 16) % of, of=of)
