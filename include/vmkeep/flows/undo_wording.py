"""Words the things that undoing a restore takes off its VM. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.flows.undo import Undoable


def lines_of_added(found: Undoable) -> Iterator[str]:
    """Yield a line for each kind of device that the VM got after the restore."""
    if found.disks_added:
        yield (
            f"It is refused as long as the VM has disks that it got after the restore: {', '.join(found.disks_added)}"
        )
    if found.devices_added:
        yield f"The VM loses devices that it got after the restore: {', '.join(found.devices_added)}"
