"""Handles a restore that failed: its VM with partly written disks says so, and can be gone on with.

By default a new VM that is half made is removed, and the claim is taken off an existing one. If the request asks to
keep it, the VM stays off as it is, with the claim of its run. Then the restore goes on where it was, when somebody
clears the failed tasks in Airflow, or calls ``vmkeep restore resume``.

The setting ``vmkeep.incomplete`` of a VM names each restore that wrote a part of its disks and did not finish. It stays
until later restores have written all disks that those were writing, whatever else fails or is refused meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from vmkeep.errors import CorruptError, VmKeepError
from vmkeep.flows.restore_ledger import PlanLedger, RunLedger
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.repository import Repository
from vmkeep.vsphere import claims, vmnotes
from vmkeep.vsphere.claims import ClaimedVm, VmClaim
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def keep_half_written(session: Session, repository: Repository, run: str) -> bool:
    """Leave the VM of a restore that failed as it is, if its request asks for that. Return whether it stays.

    A VM that was not even made ready is not worth keeping.
    """
    ledger = RunLedger(repository, run)
    if ledger.outcome() is not None or not _is_ready(repository, run):
        return False
    kept = [
        found
        for found in claims.list_claimed(session)
        if found.claim.keep and found.off and found.claim.is_of(run, repository.id)
    ]
    for found in kept:
        log.warning("VM %s is kept: 'vmkeep restore resume %s' goes on", found.vm, run)
        if found.claim.made or ledger.may_have_written():
            warn(session, found, how=f"'vmkeep restore resume {run}' goes on with it")
    if kept:
        ledger.note_kept()
    return bool(kept)


def has_to_stay(repository: Repository, run: str) -> bool:
    """Return whether a VM that its restore asked to keep has to stay: unless it was not even made ready.

    Maintenance removes the notes of a run a week later. The VM stays all the same.
    """
    return _is_ready(repository, run) or RunLedger(repository, run).plan() is None


def _is_ready(repository: Repository, run: str) -> bool:
    """Return whether a run has made its VM ready to be written."""
    plan = plan_of(repository, run)
    try:
        target = PlanLedger(repository, plan).target() if plan is not None else None
    except CorruptError:
        return False
    return target is not None and target.run == run


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


def incomplete_words(runs: str) -> str:
    """Return the warning of whoever reads disks that are partly written.

    :param runs: one run, or several with blanks between.
    """
    first, *others = runs.split()
    which = f"the restore of run {first}" if not others else f"the restores of runs {', '.join(runs.split())}"
    return f"the disks may be partly written: {which} over this VM did not finish"


def with_run(noted: str, run: str) -> str:
    """Return the setting of a VM after one more run has left its disks partly written."""
    return " ".join(dict.fromkeys([*noted.split(), run]))


def without_run(noted: str, run: str) -> str:
    """Return the setting of a VM after the restore of a run was undone."""
    return " ".join(other for other in noted.split() if other != run)


def left_after(repository: Repository, noted: str, plan: RestorePlan, run: str) -> str:
    """Return the setting of a VM after a restore is complete: the runs whose disks were not all written again.

    :param noted: the setting as it was.
    :param run: the run that has carried the plan out.
    """

    def keys_of(other: str) -> frozenset[int] | None:
        return _written(known) if (known := plan_of(repository, other)) is not None else None

    left = still_partly_written(
        without_run(noted, run).split(), keys_of, _written(plan) or frozenset(), whole=not plan.request.over.disks
    )
    return " ".join(left)


def plan_of(repository: Repository, run: str) -> RestorePlan | None:
    """Return the plan that a run carries out; ``None``: it is not known, or cannot be read."""
    try:
        return RunLedger(repository, run).plan()
    except CorruptError:
        return None


def _written(plan: RestorePlan) -> frozenset[int] | None:
    """Return the device keys of the disks that a plan writes; ``None``: it makes the VM, so that it knows no keys."""
    if plan.target is None:
        return None
    return frozenset(match.target_key for match in plan.matches if match.written and match.target_key is not None)


def still_partly_written(
    runs: Collection[str], keys_of: Callable[[str], frozenset[int] | None], written: frozenset[int], *, whole: bool
) -> list[str]:
    """Return the runs of which a disk was not written again by a restore that is complete.

    :param keys_of: returns the device keys of the disks that a run was to write; ``None``: nobody knows them any more.
    :param written: device keys of the disks that are complete now.
    :param whole: these are all disks of the point.
    """
    return [run for run in runs if not (whole if (keys := keys_of(run)) is None else keys <= written)]
