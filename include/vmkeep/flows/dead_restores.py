"""Finds the restore that has left its claim on a VM, and refuses to go on beside one that may still be at work."""

from __future__ import annotations

from vmkeep.errors import ConflictError, CorruptError
from vmkeep.flows.half_written import incomplete_words, kept_words
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import HasEnded, has_finished, nobody_knows, restore_is_alive
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.restore_values import DeadRestore
from vmkeep.model.point import VmIdentity
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.vsphere import claims
from vmkeep.vsphere.claims import VmClaim
from vmkeep.vsphere.session import Session


def dead_or_refused(
    session: Session, repository: Repository, vm: VmRef, claim: VmClaim | None, has_ended: HasEnded
) -> DeadRestore | None:
    """Return the dead restore that has left its mark on a VM, if any.

    :raises ConflictError: that restore may still be at work.
    """
    if claim is None:
        return None
    if restore_is_alive(repository, claim, now=session.server_time(), has_ended=has_ended):
        raise ConflictError(
            f"VM {vm} is being {'made' if claim.made else 'written over'} by the restore of run {claim.run}"
            f"{_of_others(claim, repository)}: wait for it, or stop it, then try again"
        )
    if claim.made and claim.keep:
        raise ConflictError(f"VM {vm} is {kept_words(claim)}")
    whole = has_finished(repository, claim) or _left_whole(repository, claim)
    return DeadRestore(vm=vm.moref, run=claim.run, made=claim.made, whole=whole)


def _left_whole(repository: Repository, claim: VmClaim) -> bool:
    """Return whether it is certain that a dead restore wrote every disk, or none of a VM that was there before."""
    if claim.repository != repository.id:
        return False
    ledger = RunLedger(repository, claim.run)
    try:
        handed_over = ledger.outcome() is Outcome.HANDED_OVER
    except CorruptError:
        handed_over = False
    return handed_over or (not claim.made and ledger.wrote_nothing())


def _of_others(claim: VmClaim, repository: Repository) -> str:
    if claim.repository == repository.id:
        return ""
    setting = claims.MADE_BY if claim.made else claims.WRITTEN_BY
    return (
        f", from another repository or by an older vmkeep (if it is over for good, delete the VM's {setting} setting)"
    )


def refuse_beside_a_restore(
    session: Session, repository: Repository, vm: VmIdentity, claim: VmClaim | None
) -> tuple[str, ...]:
    """Return the warning of a backup about a dead restore that was writing over the VM, if there is one.

    A backup looks for a mark before its snapshot, to fail early, and again after it. A restore marks the VM first and
    looks for snapshots then. So if both begin at once, at least one of them sees the other.

    :raises ConflictError: a restore is at work on the VM, so that a backup would hold a mixture of old and new.
    """
    if claim is None:
        return ()
    if claim.repository == repository.id or claim.age(session.server_time()) < GIVEN_UP:
        dead = dead_or_refused(session, repository, VmRef(moref=vm.moref or "", name=vm.name), claim, nobody_knows)
        if dead is not None and dead.whole:
            return ()
    return (incomplete_words(claim.run),)
