"""Leaves out what a server cannot answer: an ESXi host without vCenter knows no tags, folders or clusters.

One folder of policies serves vCenters and single hosts, so a policy for the one must not stop the work on the other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from vmkeep.errors import UnsupportedError
from vmkeep.policy import Policy, selectors_of
from vmkeep.selection import Condition, Kind, Selector
from vmkeep.vsphere.choosing import require_told_by
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_NO_VM = Condition(Kind.NONE)


def answerable_policies(session: Session, policies: Sequence[Policy]) -> tuple[Policy, ...]:
    """Return the policies whose selectors the server can answer. A warning names each of the others."""
    return tuple(
        policy
        for policy in policies
        if _is_told(session, selectors_of((policy,)), f"policy {policy.name} takes no VM here")
    )


def answerable_reaches(session: Session, reaches: Mapping[str, Selector | None]) -> dict[str, Selector | None]:
    """Return what each proxy reaches best. One whose selector the server cannot answer reaches none of its VMs best."""
    return {
        name: selector
        if selector is None or _is_told(session, (selector,), f"proxy {name} reaches no VM here best")
        else _NO_VM
        for name, selector in reaches.items()
    }


def _is_told(session: Session, selectors: Sequence[Selector], so: str) -> bool:
    try:
        require_told_by(session, selectors)
    except UnsupportedError as error:
        log.warning("%s: %s", so, error)
        return False
    return True
