"""Removes the VMs of a drill. A VM has to carry the drill's mark, and the drill's journal has to know it.

The mark alone proves nothing, because a clone takes over the settings of its VM. Somebody may have kept the clone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from vmkeep.errors import ConflictError, NotFoundError, Recovery, SomeFailedError, VmKeepError
from vmkeep.flows.as_planned import require_same_vcenter
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.recovery_journal import LEASE, Journal, RecoveryOrder, area_of
from vmkeep.flows.recovery_order import mark_of
from vmkeep.flows.recovery_records import find_order
from vmkeep.flows.recovery_vm import run_of_try
from vmkeep.flows.restore_ledger import PlanLedger, RunLedger
from vmkeep.flows.restore_values import RestorePlan
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.recovery import VmOutcome
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import machines
from vmkeep.vsphere.drills import DrillVm, has_mark, list_drill_vms, remove_drill_vm
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillRemoval:
    """The outcome of the removal of a drill's VMs."""

    removed: tuple[VmRef, ...]
    strangers: tuple[str, ...]
    """A sentence for each VM that carries the mark, and that the drill did not make. It stays."""
    failures: tuple[VmKeepError, ...]
    """The reason for each VM of the drill that could not be removed."""

    def require_complete(self) -> None:
        """Return if every VM of the drill is removed.

        :raises SomeFailedError: some are not.
        """
        if self.failures:
            may_pass = any(error.recovery is Recovery.RETRY for error in self.failures)
            raise SomeFailedError(
                "; ".join(str(error) for error in self.failures),
                recovery=Recovery.RETRY if may_pass else Recovery.STOP,
            )


def remove_drill(site: Site, run: str) -> DrillRemoval:
    """Remove the VMs that a drill has left. One that cannot be removed keeps no other.

    :raises NotFoundError: there is no such run, or it is no drill.
    :raises ConflictError: the drill is at work.
    :raises StaleError: the drill ran in another vCenter.
    """
    with open_site_repository(site) as repository:
        order = find_order(repository, run)
        if not order.drill:
            raise NotFoundError(f"run {run} is no drill: its VMs are there to stay")
        area = repository.run(area_of(run))
        if area.has_live_lease():
            raise ConflictError(f"drill {run} is at work, and removes its VMs itself: wait for it, or stop it")
        with area.open_lease(LEASE) as lease:
            removal = remove_vms_of(site, repository, order)
            lease.check()
            _renew_report(repository, order)
            return removal


def _renew_report(repository: Repository, order: RecoveryOrder) -> None:
    """Let the report of a run that has ended tell of the VMs that were removed since then."""
    journal = Journal(repository, order.run)
    if (report := journal.report()) is not None:
        removed = {outcome.moref for _, outcome in _outcomes(journal, order) if outcome.removed}
        vms = tuple(replace(vm, removed=True) if vm.moref in removed else vm for vm in report.vms)
        journal.finish(replace(report, vms=vms))


def remove_vms_of(site: Site, repository: Repository, order: RecoveryOrder) -> DrillRemoval:
    """Remove the VMs that a drill has made. The journal tells of each that is surely gone.

    :raises VmKeepError: they could not be looked for.
    """
    made, mark = _Made(repository, order), mark_of(repository, order)
    removed, strangers, failures = [], [], []
    with open_vsphere(site) as session:
        require_same_vcenter(order.vcenter, server_uuid(session))
        for found in list_drill_vms(session, mark):
            if (disks := made.disks_of(found)) is None:
                strangers.append(
                    f"VM {found.vm} carries the mark of drill {order.run}, which did not make it (is it a clone?): it "
                    "stays, and you can take its setting vmkeep.drill off"
                )
                continue
            try:
                remove_drill_vm(session, found.vm.moref, mark, disks=disks)
                removed.append(found.vm)
            except VmKeepError as error:
                failures.append(error)
        for vm in _settle(session, Journal(repository, order.run), order):
            try:
                if not has_mark(session, vm.moref, mark):
                    strangers.append(f"VM {vm} of drill {order.run} stays, because somebody took its mark off")
            except NotFoundError:
                continue
            except VmKeepError as error:
                failures.append(error)
    return DrillRemoval(removed=tuple(removed), strangers=tuple(strangers), failures=tuple(failures))


def _settle(session: Session, journal: Journal, order: RecoveryOrder) -> Iterator[VmRef]:
    """Record each VM of a drill that is gone. Yield the others."""
    for number, outcome in _outcomes(journal, order):
        if outcome.moref is None or outcome.removed:
            continue
        if machines.is_there(session, outcome.moref):
            yield VmRef(moref=outcome.moref, name=outcome.new_name)
        else:
            journal.record(number, replace(outcome, removed=True))


def _outcomes(journal: Journal, order: RecoveryOrder) -> Iterator[tuple[int, VmOutcome]]:
    """Yield the number and the outcome of each VM that a run has begun."""
    for number in range(1, len(order.vms) + 1):
        if (outcome := journal.outcome(number)) is not None:
            yield number, outcome


class _Made:
    """The VMs that a drill has made, by its journal and the ledgers of its restores."""

    def __init__(self, repository: Repository, order: RecoveryOrder) -> None:
        self._repository = repository
        self._journal = Journal(repository, order.run)
        self._disks: dict[str, frozenset[str]] = {}
        self._disks_half_made: dict[str, frozenset[str]] = {}
        for number in range(1, len(order.vms) + 1):
            plan = self._journal.plan(number)
            if plan is None:  # because it is written before a VM is made
                continue
            disks = frozenset(match.disk.address for match in plan.matches)
            self._disks |= dict.fromkeys(self._vms(order.run, number, plan), disks)
            self._disks_half_made |= dict.fromkeys(self._runs(order.run, number), disks)

    def disks_of(self, found: DrillVm) -> frozenset[str] | None:
        """Return the addresses of the disks that the drill gave a VM; ``None``: the drill did not make the VM."""
        return self._disks.get(found.vm.moref, self._disks_half_made.get(found.half_made_by))

    def _runs(self, run: str, number: int) -> tuple[str, ...]:
        outcome = self._journal.outcome(number)
        return tuple(run_of_try(run, number, tried) for tried in range(1, (outcome.tries if outcome else 0) + 1))

    def _vms(self, run: str, number: int, plan: RestorePlan) -> Iterator[str]:
        outcome, target = self._journal.outcome(number), PlanLedger(self._repository, plan).target()
        if outcome is not None and outcome.moref is not None:
            yield outcome.moref
        if target is not None:
            yield target.vm
        for own in self._runs(run, number):
            if (finished := RunLedger(self._repository, own).finished()) is not None:
                yield finished.vm.moref
