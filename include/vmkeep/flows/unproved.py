"""Finds the VMs of a policy whose last proof is older than the policy allows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vmkeep.clock import now
from vmkeep.flows.policy_copies import newest_announced
from vmkeep.model.proofs import ProofKind, VmProof
from vmkeep.model.wording import age
from vmkeep.policy import Policy
from vmkeep.repository import Repository


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


def unproved_of_policy(
    repository: Repository, policy: Policy, *, at: datetime | None = None
) -> tuple[UnprovedByPolicy, ...]:
    """Return the VMs of a policy whose last proof is older than its ``proved_within``, sorted by name.

    A VM belongs to the policy that its newest point names. One that has no point is missed by ``max_age``, not here. A
    VM whose newest point cannot be read is left out here, because only that point tells the policy.

    :param at: the time by which ages are counted; ``None``: now.
    """
    rules = policy.verification
    if rules.proved_within is None:
        return ()
    at = at or now()
    latest = repository.proofs.latest()
    found = []
    for read in newest_announced(repository, None):
        if read.point is None or read.point.policy != policy.name:
            continue
        counting = [proof for kind, proof in latest.get(read.point.vm.key, {}).items() if kind in rules.counting]
        last = max(counting, key=lambda proof: proof.at, default=None)
        if last is None or at - last.at > rules.proved_within:
            found.append(_unproved(policy, read.point.vm.key, read.point.vm.name, last, at))
    return tuple(sorted(found, key=lambda vm: (vm.vm_name, vm.vm_key)))


def _unproved(policy: Policy, key: str, name: str, last: VmProof | None, at: datetime) -> UnprovedByPolicy:
    return UnprovedByPolicy(
        policy=policy.name,
        vm_key=key,
        vm_name=name,
        proved_at=last.at if last else None,
        proved_by=last.kind if last else None,
        age_seconds=(at - last.at).total_seconds() if last else None,
    )
