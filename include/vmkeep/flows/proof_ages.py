"""Finds the VMs of a recovery plan that were not proved restorable for longer than the plan allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from vmkeep.clock import now
from vmkeep.flows.recovery_points import choose_in
from vmkeep.flows.recovery_proofs import load_proofs
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import VmProof
from vmkeep.model.wording import age
from vmkeep.recovery import ChosenVm, RecoveryPlan
from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovedVm:
    """A VM whose last proof is too old, or which has none."""

    group: str
    vm_key: str
    vm_name: str
    proved_at: datetime | None
    """``None``: it was never proved."""
    age_seconds: float | None

    @property
    def line(self) -> str:
        """The VM and the reason, in words."""
        ago = "never proved restorable" if self.age_seconds is None else f"last proved {age(self.age_seconds)} ago"
        return f"{self.vm_name}: {ago}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofWatch:
    """The outcome of a look at the proofs of a plan."""

    unproved: tuple[UnprovedVm, ...] = ()
    problems: tuple[str, ...] = ()
    """A sentence for each reason why the plan could not be rehearsed now, e.g. a VM without a good point."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything that a person has to look after, in words."""
        return (*self.problems, *(vm.line for vm in self.unproved))


def watch_proofs(repository: Repository, plan: RecoveryPlan, *, catalog: str) -> ProofWatch:
    """Return the VMs of a plan whose proof is older than the plan's ``proved_within``, or which have none.

    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    """
    if plan.drill is None or plan.drill.proved_within is None:
        return ProofWatch()
    choice = choose_in(repository, plan, catalog=catalog, drill=True)
    unproved = unproved_of(choice.vms, load_proofs(repository), within=plan.drill.proved_within, at=now())
    return ProofWatch(unproved=tuple(unproved), problems=choice.problems)


def unproved_of(
    vms: Sequence[ChosenVm], proofs: Mapping[str, VmProof], *, within: timedelta, at: datetime
) -> Iterator[UnprovedVm]:
    """Yield those of some VMs that have no proof that is young enough."""
    for vm in vms:
        proof = proofs.get(vm.vm_key)
        if proof is None:
            yield UnprovedVm(group=vm.group, vm_key=vm.vm_key, vm_name=vm.vm_name, proved_at=None, age_seconds=None)
        elif (passed := at - proof.at) > within:
            yield UnprovedVm(
                group=vm.group,
                vm_key=vm.vm_key,
                vm_name=vm.vm_name,
                proved_at=proof.at,
                age_seconds=passed.total_seconds(),
            )
