"""Marks a VM whose restore is undone, and gives it back as it was found if it cannot be put back."""

from __future__ import annotations

import logging

from vmkeep.errors import VmKeepError
from vmkeep.flows.claiming import claim_existing, make_claim
from vmkeep.flows.dead_restores import dead_or_refused
from vmkeep.flows.ended_restores import end_with_holds
from vmkeep.flows.liveness import HasEnded
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.flows.restore_values import DeadRestore
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, inventory, machines
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldForUndo:
    """A VM that carries the mark of an undo."""

    claim: VmClaim
    partly_written: bool
    """A dead restore has left the VM partly written."""
    was_running: bool = False
    """A dead restore that wrote nothing has found the VM running, and left it off."""


def hold(
    site: Site,
    session: Session,
    repository: Repository,
    vm: inventory.VmDescription,
    run: str,
    *,
    owner: str,
    has_ended: HasEnded,
) -> HeldForUndo:
    """Mark the VM, as a restore does, so that no backup or restore begins meanwhile. A dead restore is ended first.

    :param owner: the owner of the run, in the owner's words; empty: this process.
    :raises ConflictError: another restore may be at work on the VM.
    """
    RunLedger(repository, run).begin(owner)
    RunLedger(repository, run).note_untouched()  # an undo writes to no disk, so that whoever finds it dead knows that
    claim = make_claim(session, repository, run, made=False)
    ended: list[DeadRestore] = []
    before: list[str] = []

    def look() -> inventory.VmDescription:
        now = inventory.describe_vm(session, vm.moref)
        dead = dead_or_refused(session, repository, vm.ref, now.claim, has_ended)
        if dead is None or dead.run == run:
            return now
        log.warning("VM %s: ending the restore of run %s, which is dead", vm.ref, dead.run)
        if RunLedger(repository, dead.run).switched_off() is not None:
            before.append(dead.run)
            RunLedger(repository, dead.run).forget_switched_off()
        end_with_holds(site, session, repository, dead.run)
        ended.append(dead)
        return inventory.describe_vm(session, vm.moref)

    claim_existing(session, claim, look)
    return HeldForUndo(claim=claim, partly_written=not all(dead.whole for dead in ended), was_running=bool(before))


def give_back(session: Session, vm: inventory.VmDescription, held: HeldForUndo) -> None:
    """Give a VM that was not put back to its user, as it was found. A failure is only logged.

    A VM that a dead restore has left partly written stays off and marked, because nothing else would tell.

    :param vm: the VM as it was found.
    """
    if held.partly_written:
        return
    try:
        claims.let_go(session, vm.moref, held.claim.run)
        if (vm.running or held.was_running) and machines.power_on(session, vm.moref):
            log.warning("VM %s was not put back, and is switched on again", vm.ref)
    except VmKeepError as error:
        log.warning("VM %s was not put back, and may be off and marked by run %s: %s", vm.ref, held.claim.run, error)
