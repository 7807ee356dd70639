"""Reads in one call all that a dead run may have left on a VM: its suspension and its snapshots.

The same call reads the loads that limits go by, because a backup asks for them next.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from vmkeep.lateclass import dataclass
from vmkeep.vsphere import loads, looks, snapshots, suspensions
from vmkeep.vsphere.properties import take_look
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import SeenSnapshots, VmSnapshot
from vmkeep.vsphere.suspensions import MarkedVm


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """The remains of runs on a VM."""

    marked: MarkedVm | None
    """The VM with the mark of the run that suspends it; ``None``: it carries none."""
    seen: SeenSnapshots | None
    """Its snapshots; ``None``: they were not looked at, because a marked VM may just be changing."""
    _look: looks.Look

    @property
    def at_rest(self) -> bool:
        """Whether nothing on the VM has to be waited for."""
        return self.seen is not None and not self.seen.going_on

    def look(self) -> AbstractContextManager[None]:
        """Answer in the body from the one call. It holds as long as nothing on the VM is changed or waited for."""
        return looks.looking(self._look)

    def list_snapshots(self, session: Session, moref: str) -> tuple[VmSnapshot, ...]:
        """Wait for snapshots that are being taken. Return those that any run of vmkeep has taken and not removed."""
        if self.seen is None:
            return snapshots.list_ours(session, moref)
        return snapshots.list_seen(session, moref, self.seen)


def find_remains(session: Session, moref: str) -> Remains:
    """Return the remains of runs on a VM.

    :raises NotFoundError: there is no such VM.
    """
    paths = (*suspensions.PATHS, *snapshots.PATHS, *loads.PATHS)
    look = take_look(session, session.vm(moref), *paths, along={**snapshots.ALONG, **loads.ALONG})
    with looks.looking(look):
        marked = suspensions.find_marked(session, moref)
        seen = snapshots.see_ours(session, moref) if marked is None else None
    return Remains(marked=marked, seen=seen, _look=look)
