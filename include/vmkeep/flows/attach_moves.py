"""Moves whole disks from a run's carrier to their VM, and takes a half-done move of a dead run back.

The disks leave the carrier before they go to the VM, because a clean-up that destroyed the carrier would destroy the
VM's disks with it. In between no VM has them. A note of the run names their files, so that a clean-up finds them:

    runs/<run>/notes/move        the carrier, the VM and the files, written before the first of them leaves the carrier
    runs/<run>/notes/attached    the VM has had the disks; they are its user's now, whatever the user does with them
    runs/<run>/notes/withdrawn   a clean-up has taken back the announcement, so the VM has never had the disks
    runs/<run>/notes/kept        the files that a clean-up left alone, because a VM has them or may have had them

The carrier stays until the VM has the disks. It carries the run's mark, by which the sweep finds the run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress

from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.lateclass import dataclass
from vmkeep.model.job import from_json, to_json
from vmkeep.repository import Repository
from vmkeep.vsphere import attaching, carriers
from vmkeep.vsphere.attaching import WholeDisk
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.slots import Slot

log = logging.getLogger(__name__)

_NOTE = "move"
_ATTACHED = "attached"
_WITHDRAWN = "withdrawn"
_KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A move of disks from a carrier to a VM. Both VMs are named by managed object ids."""

    carrier: str
    vm: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """The files of disks that a clean-up left alone."""

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
    slots = attaching.attach(session, move.vm, run, disks)
    try:
        repository.run(run).store(_ATTACHED, b"")
    except VmKeepError as error:  # the announcement is gone from the VM, by which a clean-up knows it, too
        log.warning("run %s: that VM %s has the disks could not be noted: %s", run, move.vm, error)
    return slots


def take_back(session: Session, repository: Repository, run: str) -> None:
    """Put the disks that a run was moving back onto its carrier, unless their VM has them or may have had them.

    Only the change that attaches the disks takes the announcement off the VM, apart from a clean-up, which notes it. So
    without an announcement, or without the VM, somebody may use the disks, even if no VM is seen to have them now.

    Call this after the run's end was recorded, and before its carrier is destroyed.

    :raises VmKeepError: it is not known whether a VM has the disks; the carrier has to stay.
    """
    found = _move_of(repository, run)
    if found is None:
        return
    users: Mapping[str, str] = {}
    kept = found.files
    if not repository.run(run).has(_ATTACHED):
        never_attached = _withdrawn(session, repository, run, found.vm)
        users = attaching.users_of(session, found.files, besides=found.carrier)
        kept = tuple(
            name
            for name in found.files
            if name in users or not (never_attached or carriers.has(session, found.carrier, name))
        )
    repository.run(run).store(_KEPT, to_json(_Kept(files=kept)))
    for name in found.files:
        if name in kept:
            with suppress(NotFoundError):  # the carrier is gone, and so has no disk
                carriers.unload(session, found.carrier, [name])
            log.warning("run %s: disk %s stays, because %s", run, name, _why_kept(users.get(name), found.vm))
        elif _returned(session, run, found.carrier, name):
            log.warning("run %s: disk %s goes with the carrier, because no VM has got it", run, name)


def kept_files(repository: Repository, run: str) -> tuple[str, ...]:
    """Return the files of disks that the clean-up of a run left alone."""
    try:
        return from_json(_Kept, repository.run(run).load(_KEPT)).files
    except NotFoundError:
        return ()


def _withdrawn(session: Session, repository: Repository, run: str, vm: str) -> bool:
    """Take the announcement off the VM. Return whether the VM has never had the disks."""
    area = repository.run(run)
    try:
        if attaching.withdraw(session, vm, run):
            area.store(_WITHDRAWN, b"")
    except NotFoundError:
        log.warning("VM %s, to which run %s moved disks, does not exist any more", vm, run)
    return area.has(_WITHDRAWN)


def _why_kept(user: str | None, vm: str) -> str:
    return (
        f"VM {user} has it" if user else f"VM {vm} has got it, or may have got it; delete the file if nobody needs it"
    )


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
