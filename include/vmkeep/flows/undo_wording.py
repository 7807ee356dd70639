"""Words a restore that can be undone or accepted, as a person is shown it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, tzinfo

from vmkeep.flows.undo_values import Undoable

_LOST = "it is switched off, and all that it has written since then is lost"
_STATES = {"poweredOn": "running", "poweredOff": "off"}
_STAYS = "the restored state stays, and the restore cannot be undone any more"


def lines_of(found: Undoable, zone: tzinfo = UTC) -> Iterator[str]:
    """Yield the VM, its restore, and the devices that the VM got after it.

    :param zone: times are shown by its clock.
    """
    state = _STATES.get(found.power, found.power)
    yield (
        f"VM {found.vm}, which is {state}: restore {found.restore} keeps snapshot {found.snapshot} of "
        f"{found.taken_at.astimezone(zone):%Y-%m-%d %H:%M:%S} ({zone}), from before its first write"
    )
    yield from lines_of_added(found)


def lines_of_question(found: Undoable, zone: tzinfo = UTC, *, undo: bool) -> Iterator[str]:
    """Yield the lines to show before a person says yes.

    :param zone: times are shown by its clock.
    """
    yield from lines_of(found, zone) if undo else tuple(lines_of(found, zone))[:1]
    yield f"If you {'undo' if undo else 'accept'} that restore of the VM: {_LOST if undo else _STAYS}"


def lines_of_added(found: Undoable) -> Iterator[str]:
    """Yield a line for each kind of device that the VM got after the restore."""
    if found.disks_added:
        yield (
            f"undoing is refused as long as the VM has disks that it got after the restore: "
            f"{', '.join(found.disks_added)}"
        )
    if found.devices_added:
        yield f"undoing takes off the VM the devices that it got after the restore: {', '.join(found.devices_added)}"
