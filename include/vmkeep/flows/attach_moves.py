"""Moves whole disks from a run's carrier to their VM, and takes a half-done move of a dead run back.

The disks leave the carrier before they go to the VM, because a clean-up that destroyed the carrier would destroy the
VM's disks with it. In between no VM has them. A note of the run names their files, so that a clean-up finds them:

    runs/<run>/notes/move   the carrier, the VM and the files, written before the first of them leaves the carrier

The carrier stays until the VM has the disks. It carries the run's mark, by which the sweep finds the run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.model.job import from_json, to_json
from vmkeep.repository import Repository
from vmkeep.vsphere import attaching, carriers
from vmkeep.vsphere.attaching import WholeDisk
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.slots import Slot

log = logging.getLogger(__name__)

_NOTE = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of disks from a carrier to a VM. Both VMs are named by managed object ids."""

    carrier: str
    vm: str
    files: tuple[str, ...]


def carry_over(
    session: Session, repository: Repository, run: str, move: Move, disks: Sequence[WholeDisk]
) -> tuple[Slot, ...]:
    """Take the disks off the carrier and attach them to the VM, all or none. Return their slots.

    :raises StaleError: the run was given up meanwhile. Its clean-up removes the disks.
    """
    ledger = RunLedger(repository, run)
    ledger.require_open()
    repository.run(run).store(_NOTE, to_json(move))
    attaching.announce(session, move.vm, run)
    # Only after the announcement, because a clean-up records the run's end first, and withdraws the announcement then.
    ledger.require_open()
    carriers.unload(session, move.carrier, move.files)
    return attaching.attach(session, move.vm, run, disks)


def take_back(session: Session, repository: Repository, run: str) -> None:
    """Put the disks that a run was moving back onto its carrier, unless their VM has them by now.

    Call this after the run's end was recorded, and before its carrier is destroyed.

    :raises VmKeepError: it is not known whether a VM has the disks; the carrier has to stay.
    """
    found = _move_of(repository, run)
    if found is None:
        return
    try:
        attaching.withdraw(session, found.vm, run)
    except NotFoundError:
        log.warning("VM %s, to which run %s moved disks, does not exist any more", found.vm, run)
    users = attaching.users_of(session, found.files, besides=found.carrier)
    for name in found.files:
        if name in users:
            carriers.unload(session, found.carrier, [name])
            log.warning("run %s: disk %s stays, because VM %s has it", run, name, users[name])
        elif _returned(session, run, found.carrier, name):
            log.warning("run %s: disk %s goes with the carrier, because no VM has got it", run, name)


def _returned(session: Session, run: str, carrier: str, name: str) -> bool:
    """Put a disk back onto the carrier. Return whether the carrier has it."""
    try:
        return carriers.load(session, carrier, name)
    except NotFoundError:
        log.error("run %s: disk %s is left without a VM, because the carrier %s is gone", run, name, carrier)
        return False


def _move_of(repository: Repository, run: str) -> Move | None:
    try:
        text = repository.run(run).load(_NOTE)
    except NotFoundError:
        return None
    try:
        return from_json(Move, text)
    except ValueError as error:
        raise CorruptError(f"the note of run {run} about the disks that it moves cannot be read: {error}") from error
