"""The records of recoveries that the repository keeps: reports of runs, and when each VM was last proved restorable."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.flows.pointlist import list_points
from vmkeep.flows.recovery_journal import Journal, RecoveryOrder
from vmkeep.flows.recovery_order import numbered, plan_of
from vmkeep.flows.recovery_outcomes import outcome_so_far
from vmkeep.flows.recovery_proofs import load_proofs
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import VmProof
from vmkeep.recovery import RecoveryReport
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def report_of(
    repository: Repository,
    order: RecoveryOrder,
    *,
    ended: datetime | None,
    halted: str = "",
    notes: Sequence[str] = (),
) -> RecoveryReport:
    """Return the report of a run, by the outcomes that its journal has.

    :param halted: the reason why the run did not begin the VMs that wait.
    """
    journal, plan = Journal(repository, order.run), plan_of(order)
    outcomes = [journal.outcome(one.number) or outcome_so_far(journal, one) for one in numbered(order, plan)]
    return RecoveryReport(
        run=order.run,
        plan=plan.name,
        description=plan.description,
        drill=order.drill,
        began=order.began,
        ended=ended,
        lost_at=order.lost_at,
        vcenter=order.server,
        vms=tuple(outcome if outcome.tries else replace(outcome, error=halted) for outcome in outcomes),
        notes=(*order.notes, *notes),
    )


def find_report(repository: Repository, run: str) -> RecoveryReport:
    """Return the report of a run; of one that has not ended, the state of its VMs.

    :raises NotFoundError: there is no such run. The message lists some that there are.
    """
    journal = Journal(repository, run)
    if (report := journal.report()) is not None:
        return report
    return report_of(repository, find_order(repository, run), ended=None)


def find_order(repository: Repository, run: str) -> RecoveryOrder:
    """Return the order of a run.

    :raises NotFoundError: there is no such run. The message lists some that there are.
    """
    order = Journal(repository, run).order()
    if order is None:
        known = ", ".join(repository.recoveries.runs()[-10:]) or "none"
        raise NotFoundError(f"there is no recovery {run} in the repository; there are {known}")
    return order


def list_reports(repository: Repository) -> tuple[RecoveryReport, ...]:
    """Return the reports of all runs, oldest first. One that cannot be read is told of in a warning."""
    found = []
    for run in repository.recoveries.runs():
        try:
            found.append(find_report(repository, run))
        except (CorruptError, NotFoundError) as error:
            log.warning("%s", error)
    return tuple(sorted(found, key=lambda report: (report.began, report.run)))


def load_pictures(repository: Repository, report: RecoveryReport) -> dict[str, bytes]:
    """Return the pictures of consoles that a report names. One that cannot be read is left out with a warning."""
    journal, found = Journal(repository, report.run), {}
    for name in filter(None, (vm.picture for vm in report.vms)):
        try:
            found[name] = journal.picture(name)
        except (CorruptError, NotFoundError) as error:
            log.warning("a picture of a console is left out: %s", error)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedVm:
    """A VM of the repository, and when it was last proved restorable."""

    vm_key: str
    vm_name: str
    newest_point: str
    newest_at: datetime
    proof: VmProof | None
    """``None``: it never was."""
    age_seconds: float | None
    """Seconds since then."""


def list_proofs(repository: Repository, *, catalog: str) -> tuple[ProvedVm, ...]:
    """Return every VM that has points, the one that was never proved or longest ago first.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    """
    proofs = load_proofs(repository)
    newest = {entry.vm_key: entry for entry in list_points(repository, catalog=catalog).entries}
    at = now()
    found = [
        ProvedVm(
            vm_key=key,
            vm_name=entry.vm_name,
            newest_point=entry.ref,
            newest_at=entry.taken_at,
            proof=proofs.get(key),
            age_seconds=(at - proofs[key].at).total_seconds() if key in proofs else None,
        )
        for key, entry in newest.items()
    ]
    return tuple(sorted(found, key=lambda vm: (vm.proof is not None, -(vm.age_seconds or 0), vm.vm_name)))
