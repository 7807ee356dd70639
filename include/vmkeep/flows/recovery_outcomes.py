"""Tells how far the VMs of a recovery have come, and which of them are no longer as they were found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.recovery_journal import Journal
from vmkeep.lateclass import dataclass
from vmkeep.model.site import Site
from vmkeep.recovery import ChosenVm, RecoveryGroup, VmOutcome, VmState
from vmkeep.vsphere import machines
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedVm:
    """A VM of a run, with its number in the run's order, by which its notes are found."""

    number: int
    group: RecoveryGroup
    """As it is restored: in a drill, with the drill's network."""
    vm: ChosenVm


def outcome_so_far(journal: Journal, one: NumberedVm) -> VmOutcome:
    """Return the outcome of a VM so far. A drill's VM that was removed before it was healthy begins anew."""
    vm = one.vm
    found = journal.outcome(one.number)
    if found is not None and not (found.removed and not found.succeeded):
        return found
    return VmOutcome(
        group=vm.group,
        vm_key=vm.vm_key,
        vm_name=vm.vm_name,
        new_name=vm.new_name,
        point=found.point if found is not None else vm.point,
        taken_at=found.taken_at if found is not None else vm.taken_at,
        tries=found.tries if found is not None else 0,
        stepped_back=found.stepped_back if found is not None else (),
    )


def note_lost(site: Site, journal: Journal, vms: Iterable[NumberedVm]) -> None:
    """Look at the VMs that were as they should be, and note those that are not any more, so that they are taken up.

    :raises VmKeepError: vSphere does not answer, so that nobody can say how these VMs are.
    """
    found = [(one, outcome_so_far(journal, one)) for one in vms]
    good = [(one, outcome) for one, outcome in found if outcome.succeeded and not outcome.removed]
    if not good:
        return
    with open_vsphere(site) as session:
        for one, outcome in good:
            if why := _why_lost(session, outcome):
                lost = replace(outcome, state=VmState.UNHEALTHY, healthy_at=None, probes=(), error=why)
                journal.record(one.number, lost)


def _why_lost(session: Session, outcome: VmOutcome) -> str:
    """Return why a VM is not as it was found before; empty: it is. One that may stay off may also run."""
    moref = outcome.moref or ""
    if not machines.is_there(session, moref):
        return "somebody has removed the restored VM"
    if outcome.state is VmState.HEALTHY and machines.power_state(session, moref) is not PowerState.ON:
        return "it was healthy, and does not run any more"
    return ""
