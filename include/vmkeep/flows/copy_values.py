"""Values of copies between repositories: how much is read back, and the outcome for each point."""

from __future__ import annotations

from enum import StrEnum

from vmkeep.lateclass import dataclass


class Verify(StrEnum):
    """The share of a copied point that is read back from the target before it is sealed."""

    ALL = "all"
    SAMPLE = "sample"
    """One block in twenty is read; all others are only looked up in the index."""
    NONE = "none"


class CopyState(StrEnum):
    """The outcome for one point."""

    COPIED = "copied"
    PLANNED = "planned"
    """The point would be copied, but this was a dry run."""
    PRESENT = "present"
    """The target has it already."""
    GONE = "gone"
    """Another process has removed the point from the source meanwhile."""
    FAILED = "failed"
    """The point is damaged in the source, did not arrive whole, or its name is taken. Nothing was sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointCopy:
    """The outcome of copying one point."""

    ref: str
    state: CopyState
    blocks_changed: int = 0
    """Number of blocks that differ from those at the same place in the point that was copied before."""
    bytes_read: int = 0
    """Bytes of content read from the source; in a dry run, those that would be read."""
    bytes_stored: int = 0
    """Bytes written to the target, its map and index included."""
    blocks_verified: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyReport:
    """The outcome for all points: first those that cannot be read, then the others, oldest first."""

    source: str
    target: str
    points: tuple[PointCopy, ...]

    @property
    def failed(self) -> tuple[PointCopy, ...]:
        """The points that could not be copied."""
        return tuple(point for point in self.points if point.state is CopyState.FAILED)
