"""Finds the VMs of a policy whose last proof is older than the policy allows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from vmkeep.catalog import VmStanding
from vmkeep.clock import now
from vmkeep.flows.pointlist import good_origins, list_origins
from vmkeep.flows.policy_copies import newest_announced
from vmkeep.flows.quality_evidence import Inventory, standings_in
from vmkeep.lateclass import dataclass
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.model.site import VCenter
from vmkeep.model.wording import age
from vmkeep.policy import Policy
from vmkeep.repository import Repository

__all__ = ["PolicyProofs", "UnprovedByPolicy", "VmStanding", "proofs_of_policy", "standings_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovedByPolicy:
    """A VM whose last proof that counts is too old, or which has none."""

    policy: str
    vm_key: str
    vm_name: str
    proved_at: datetime | None
    """``None``: it was never proved."""
    proved_by: ProofKind | None
    age_seconds: float | None

    @property
    def line(self) -> str:
        """The VM and the reason, in words."""
        if self.age_seconds is None:
            return f"{self.vm_name}: never proved"
        return f"{self.vm_name}: last proved {age(self.age_seconds)} ago, by {self.proved_by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyProofs:
    """The outcome of a look at the proofs of a policy's VMs."""

    unproved: tuple[UnprovedByPolicy, ...] = ()
    """Sorted by name."""
    watched: int = 0
    """Number of VMs that were looked at."""


def proofs_of_policy(
    repository: Repository, policy: Policy, *, at: datetime | None = None, standings: Iterable[VmStanding] = ()
) -> PolicyProofs:
    """Look at the VMs of a policy: those whose newest point names it, and those that a vCenter tells of.

    A VM of which no point can be read is left out here, unless a vCenter tells that the policy takes it.

    :param at: the time by which ages are counted; ``None``: now.
    :param standings: the VMs of a vCenter, also of other policies. Those that cannot be backed up are left out.
    """
    rules = policy.verification
    if rules.proved_within is None:
        return PolicyProofs()
    at = at or now()
    latest = repository.proofs.latest()
    names = {
        read.point.vm.key: read.point.vm.name
        for read in newest_announced(repository, None)
        if read.point is not None and read.point.policy == policy.name
    }
    for vm in standings:
        if vm.policy == policy.name and vm.obstacle is None:
            names.setdefault(vm.vm if vm.ref is None else vm.ref.rpartition("/")[0], vm.name)
    found = []
    for key, name in names.items():
        counting = [proof for kind, proof in latest.get(key, {}).items() if kind in rules.counting]
        last = max(counting, key=lambda proof: proof.at, default=None)
        if last is None or at - last.at > rules.proved_within:
            found.append(_unproved(policy, key, name, last, at))
    return PolicyProofs(unproved=tuple(sorted(found, key=lambda vm: (vm.vm_name, vm.vm_key))), watched=len(names))


def standings_at(
    repository: Repository, vcenter: VCenter, policies: Iterable[Policy], *, catalog: str
) -> tuple[VmStanding, ...]:
    """Return the VMs of a vCenter, each with the policy that takes it and its newest good point.

    :param policies: all policies of that vCenter, because the first that selects a VM takes it.
    :param catalog: the SQLAlchemy URL of the catalog. If it cannot be used, the whole repository is read.
    """
    origins = good_origins(repository, list_origins(repository, catalog=catalog))
    inventory = Inventory(vcenter=vcenter, policies=tuple(policies))
    return tuple(standings_in(inventory, origins, repository.proofs.latest()))


def _unproved(policy: Policy, key: str, name: str, last: VmProof | None, at: datetime) -> UnprovedByPolicy:
    return UnprovedByPolicy(
        policy=policy.name,
        vm_key=key,
        vm_name=name,
        proved_at=last.at if last else None,
        proved_by=last.kind if last else None,
        age_seconds=(at - last.at).total_seconds() if last else None,
    )
