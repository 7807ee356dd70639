"""Notes the first write of a restore in the area of its run, so that a restore that wrote nothing is known as such."""

from __future__ import annotations

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.repository.notes.runs import RunArea

DISKS = "disks"
"""Name of the note about the disks that a restore writes."""
WRITTEN = b"written"
"""Content of the note once all disks are written."""
BEGUN = b"begun"
"""Content of the note from before the first write."""


def note_begun(area: RunArea) -> None:
    """Record, before the first write, that from now on the disks of the VM may be written.

    A later call changes nothing, because all of them may be written by then.
    """
    try:
        if area.load(DISKS) in (BEGUN, WRITTEN):
            return
    except (NotFoundError, CorruptError):
        pass
    area.store(DISKS, BEGUN)
