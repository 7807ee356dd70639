"""What stays of a restore that failed: a VM with partly written disks that says so, and that can be gone on with.

By default a new VM that is half made is removed, and the claim is taken off an existing one. If the request asks to
keep it, the VM stays off as it is, with the claim of its run. Then the restore goes on where it was, when somebody
clears the failed tasks in Airflow, or calls ``vmkeep restore resume``.
"""

from __future__ import annotations

import logging

from vmkeep.errors import VmKeepError
from vmkeep.flows.restore_ledger import RunLedger
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, vmnotes
from vmkeep.vsphere.claims import ClaimedVm, VmClaim
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def keep_half_written(session: Session, repository: Repository, run: str) -> bool:
    """Leave the VM of a restore that failed as it is, if its request asks for that. Return whether it stays.

    A VM to which certainly nothing was written is not worth keeping.
    """
    ledger = RunLedger(repository, run)
    if ledger.outcome() is not None or not ledger.may_have_written():
        return False
    kept = [
        found
        for found in claims.list_claimed(session)
        if found.claim.keep and found.off and found.claim.is_of(run, repository.id)
    ]
    for found in kept:
        log.warning("VM %s is kept, partly written: 'vmkeep restore resume %s' goes on", found.vm, run)
        warn(session, found, how=f"'vmkeep restore resume {run}' goes on with it")
    if kept:
        ledger.note_kept()
    return bool(kept)


def has_to_stay(repository: Repository, run: str) -> bool:
    """Return whether a VM that its restore asked to keep has to stay: unless certainly nothing was written to it.

    Maintenance removes the notes of a run a week later. The VM stays all the same.
    """
    ledger = RunLedger(repository, run)
    return ledger.may_have_written() or ledger.plan() is None


def warn(session: Session, found: ClaimedVm, *, how: str = "restore it again") -> None:
    """Say in the VM's notes that its disks are partly written. A failure only leaves the notes as they are."""
    try:
        vmnotes.warn_in_notes(
            session,
            found.vm.moref,
            f"Its disks are partly written, because the restore of run {found.claim.run} did not finish: {how}.",
        )
    except VmKeepError as error:
        log.warning("VM %s: its notes do not tell that its disks are partly written: %s", found.vm, error)


def unwarn(session: Session, moref: str) -> None:
    """Take the warning off a VM's notes after a complete restore. A failure only leaves it there."""
    try:
        vmnotes.take_warning_off(session, moref)
    except VmKeepError as error:
        log.warning("VM %s is complete, but its notes still say that it is not: %s", moref, error)


def kept_words(claim: VmClaim) -> str:
    """Return the sentence about a VM that is kept, as asked."""
    return f"kept as asked, partly written: 'vmkeep restore resume {claim.run}' goes on, or delete the VM in vCenter"


def incomplete_words(run: str) -> str:
    """Return the warning of whoever reads disks that are partly written."""
    return f"the disks may be partly written: the restore of run {run} over this VM did not finish"
