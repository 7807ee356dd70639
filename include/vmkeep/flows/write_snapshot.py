"""Takes the temporary snapshot under which SAN or HotAdd writes, and ends it before the VM is handed over."""

from __future__ import annotations

from dataclasses import replace

from vmkeep.flows.restore_values import Target
from vmkeep.model.writeway import TemporarySnapshot
from vmkeep.repository import Repository
from vmkeep.vsphere import inventory, snapshots
from vmkeep.vsphere.session import Session


def take_for_writing(session: Session, repository: Repository, target: Target) -> Target:
    """Take the snapshot that the way of writing needs, and return the VM with it.

    The VM is off, and its changes are not tracked. Above a snapshot that is kept to undo the restore, no other is
    needed.
    """
    if target.way is None or target.way.snapshot is TemporarySnapshot.NONE or target.undo is not None:
        return target
    below = target.way.snapshot is TemporarySnapshot.BELOW
    taken = snapshots.create(session, target.vm, run=target.run, repository=repository.id, quiesce=False, below=below)
    return replace(target, snapshot=taken.moref)


def files_below(session: Session, target: Target) -> dict[int, str]:
    """Return the files to write instead of the VM's current ones, by device key; empty: the current ones are written.

    :raises StaleError: the snapshot is gone.
    """
    if target.snapshot is None or target.way is None or target.way.snapshot is not TemporarySnapshot.BELOW:
        return {}
    snapshots.require(session, target.vm, target.snapshot)
    return {held.key: held.disk.file_name for held in inventory.held_disks(session, target.vm, target.snapshot)}


def end_writing(session: Session, repository: Repository, target: Target) -> None:
    """Remove the temporary snapshot, with everything written in the disks of the VM. A second call changes nothing."""
    if target.snapshot is None:
        return
    for snapshot in snapshots.find_by_run(session, target.vm, target.run):
        if not snapshot.is_of_other(repository.id):
            snapshots.discard(session, target.vm, snapshot)
