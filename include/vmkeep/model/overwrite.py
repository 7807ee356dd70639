"""The ways in which a restore writes over an existing VM: which blocks, with which check, and whether it can be undone.

A block that did not change since the restore point was taken need not be written. That is used only if vSphere tells
the changes, and if nothing speaks against its word.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from vmkeep.lateclass import dataclass


class Blocks(StrEnum):
    """The blocks of a disk that are written."""

    CHANGED = "changed"
    """Only those that may have changed since the point."""
    ALL = "all"
    """Every block, also those that did not change."""


class Verify(StrEnum):
    """The share of a written disk that is read back and compared with the point."""

    NONE = "none"
    SAMPLE = "sample"
    """All that was written of a small disk, and a sample of a large one."""
    ALL = "all"
    """The whole disk, also the blocks that were not written."""


class Undo(StrEnum):
    """The way back to the VM as it was before the restore."""

    NONE = "none"
    SNAPSHOT = "snapshot"
    """A snapshot of the VM is kept. The restore writes above it, so that a revert brings the old state back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockChoice:
    """The blocks of one disk that a restore writes, and the reason."""

    disk: int
    """Device key of the disk inside the restore point."""
    blocks: Blocks
    why: str
    extents: str | None = None
    """Name of the run's note with the extents that changed; ``None``: all blocks are written, or it is not asked yet.
    """
    bytes_changed: int | None = None
    """Bytes in these extents."""
    since: datetime | None = None
    """Time by vCenter's clock from which the VM has to stay off: from just before it was switched off."""
