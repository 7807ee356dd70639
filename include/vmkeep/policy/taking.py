"""Which policies take a VM, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum

from vmkeep.lateclass import dataclass
from vmkeep.policy.values import Policy
from vmkeep.selection import Selector, VmFacts, conditions, matcher


class Taking(StrEnum):
    """The answer of a policy to a VM."""

    TAKEN = "taken"
    EXCLUDED = "excluded"
    NOT_SELECTED = "not selected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer of one policy to one VM, and its reason."""

    policy: str
    taking: Taking
    selector: str
    """The selector that decided: the selection, or the first exclusion that fits."""
    conditions: tuple[tuple[str, bool], ...]
    """Each condition of that selector, and whether the VM fits it."""


def selectors_of(policies: Iterable[Policy]) -> tuple[Selector, ...]:
    """Return every selector of some policies: all facts that they ask for."""
    return tuple(selector for policy in policies for selector in (policy.selection, *policy.exclusions))


def by_precedence(policies: Iterable[Policy]) -> list[Policy]:
    """Return policies in the order in which they take VMs: the first one that selects a VM has it, and no other."""
    return sorted(policies, key=lambda policy: (-policy.priority, policy.name))


def taker(policy: Policy) -> Callable[[VmFacts], bool]:
    """Return the test whether a policy takes a VM, to be used on many VMs."""
    selected = matcher(policy.selection)
    excluded = [matcher(selector) for selector in policy.exclusions]
    return lambda vm: selected(vm) and not any(fits(vm) for fits in excluded)


def verdict(policy: Policy, vm: VmFacts) -> Verdict:
    """Return a policy's answer to a VM."""
    if not matcher(policy.selection)(vm):
        return _verdict(policy, Taking.NOT_SELECTED, policy.selection, vm)
    for selector in policy.exclusions:
        if matcher(selector)(vm):
            return _verdict(policy, Taking.EXCLUDED, selector, vm)
    return _verdict(policy, Taking.TAKEN, policy.selection, vm)


def _verdict(policy: Policy, taking: Taking, selector: Selector, vm: VmFacts) -> Verdict:
    return Verdict(
        policy=policy.name,
        taking=taking,
        selector=str(selector),
        conditions=tuple((str(condition), matcher(condition)(vm)) for condition in conditions(selector)),
    )
