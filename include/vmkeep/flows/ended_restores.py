"""Ends a restore that did not finish, with everything that it holds on its VM."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vmkeep.flows import vm_access
from vmkeep.flows.attach_moves import take_back
from vmkeep.flows.connect import fence_deadline
from vmkeep.flows.given_back import give_back, to_give_back
from vmkeep.flows.half_written import left_after, plan_of, warn, with_run
from vmkeep.flows.restore_ledger import Outcome, RunLedger
from vmkeep.flows.undo_snapshot import remove_temporary, remove_unused
from vmkeep.model.site import Site
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, machines
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def end_with_holds(site: Site, session: Session, repository: Repository, run: str) -> int:
    """End a restore. Its snapshots go, but one by which it can be undone, and its VM can be moved again.

    :returns: the number of half-made VMs that were destroyed.
    """

    def release(moref: str) -> None:
        vm_access.release(site, session, repository, moref, run)
        remove_temporary(session, repository, moref, run)
        remove_unused(session, repository, moref, run)

    return end_restore(session, repository, run, release=release)


def end_restore(session: Session, repository: Repository, run: str, *, release: Callable[[str], object]) -> int:
    """End a restore that did not finish. Return the number of half-made VMs that were destroyed.

    Its writers are stopped first, and disks that it was moving to a VM are put back onto its carrier. A VM is destroyed
    only if this restore made it and it is off. From any other VM the mark is taken: one that was written over, one that
    was handed over, and one that somebody switched on and so owns.

    :param release: allows Storage vMotion of the VM with that managed object id again.
    """
    ledger = RunLedger(repository, run)
    handed_over = ledger.record_outcome(Outcome.CLEANED_UP) is Outcome.HANDED_OVER
    destroyed = 0
    if not handed_over:
        area = repository.run(run)
        area.fence()
        area.await_copies(fence_deadline(run))
        take_back(session, repository, run)
        destroyed = machines.destroy_claimed(session, run, repository=repository.id)
    written = ledger.may_have_written()  # only after the last writer has ended
    resting = to_give_back(repository, run)
    for found in claims.list_claimed(session):
        if found.claim.is_of(run, repository.id):
            release(found.vm.moref)
            noted: str | None = None
            if not handed_over and (written or found.claim.made):
                warn(session, found)
                log.warning("VM %s stays, partly written by run %s", found.vm, run)
                noted = with_run(found.incomplete, run)
            elif handed_over and (plan := plan_of(repository, run)) is not None:
                noted = left_after(repository, found.incomplete, plan, run)
            elif not handed_over:
                log.warning("run %s has written to no disk of VM %s", run, found.vm)
            if found.vm.moref != resting:
                claims.let_go(session, found.vm.moref, run, incomplete=noted)
    if resting is not None:
        give_back(session, repository, run, resting)
    return destroyed
