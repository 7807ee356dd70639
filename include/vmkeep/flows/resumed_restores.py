"""Goes on with a restore that somebody killed, or that failed and asked to keep its VM."""

from __future__ import annotations

import logging
from collections.abc import Callable

from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.flows.complete_runs import Bars, carry_out
from vmkeep.flows.restore_ledger import RunLedger, cleaned_up
from vmkeep.flows.restore_values import Restored, RestorePlan
from vmkeep.model.site import Site
from vmkeep.repository import open_site_repository
from vmkeep.repository.unlock import share_keys

log = logging.getLogger(__name__)


def resume_restore(site: Site, run: str, *, bars: Bars, announce: Callable[[str], None]) -> Restored:
    """Carry out the rest of a restore, as it was planned. What was written and flushed is not written again.

    :raises NotFoundError: the repository knows no such restore, or none any more.
    :raises ConflictError: the restore is at work.
    :raises StaleError: it has ended, or vSphere is not as planned any more. Nothing was touched.
    """
    share_keys()
    plan = _open_plan(site, run)
    return carry_out(site, plan, bars=bars, announce=announce, run=run)


def _open_plan(site: Site, run: str) -> RestorePlan:
    """Return the plan of a restore that is open and dead."""
    with open_site_repository(site) as repository:
        ledger, area = RunLedger(repository, run), repository.run(run)
        plan = ledger.plan()
        if plan is None:
            raise NotFoundError(
                f"no restore of run {run} is known in this repository: one that was killed before its first change has "
                "touched nothing, so restore again; any other can be gone on with for a week, by "
                "the run that it names before its first write, and that its VM has in its advanced settings "
                "(vmkeep.run; of a VM that existed before, vmkeep.restoring)"
            )
        ledger.require_open()
        if area.fenced:
            raise cleaned_up(run)
        if area.has_live_lease():
            raise ConflictError(f"the restore of run {run} is at work: wait for it, or stop it, then try again")
        if owner := ledger.owner_at_work():
            raise ConflictError(
                f"the restore of run {run} belongs to {owner}, which has not given it up: clear its failed tasks there"
            )
        return plan
