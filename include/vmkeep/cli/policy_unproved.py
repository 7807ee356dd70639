"""``vmkeep policy unproved``: the VMs whose last proof is older than their policy allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.errors import NotFoundError, Recovery, SomeFailedError
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import counted
from vmkeep.policy import Policy

if TYPE_CHECKING:
    from vmkeep.flows.repositories import Repository


def tell_unproved(policies: Sequence[Policy], names: Sequence[str], repository: Repository, *, as_json: bool) -> None:
    """Print the VMs of the named policies, or of all that have a ``proved_within``, that were not proved in time.

    :raises NotFoundError: there is no sound policy of such a name.
    :raises SomeFailedError: a VM was not proved in time.
    """
    from vmkeep.flows.unproved import unproved_of_policy  # takes time to import

    found = [vm for policy in _watched(policies, names) for vm in unproved_of_policy(repository, policy)]
    if as_json:
        print_json(found)
    else:
        zone = shown_zone()
        cells = [
            (vm.policy, shown_name(vm.vm_name), shown_time(vm.proved_at, zone) if vm.proved_at else "never",
             vm.proved_by or "")
            for vm in found
        ]  # fmt: skip
        print_table(("policy", "name", f"last proved ({zone})", "by"), cells)
    if found:
        raise SomeFailedError(f"{counted(len(found), 'VM')} not proved in time", recovery=Recovery.STOP)


def _watched(policies: Sequence[Policy], names: Sequence[str]) -> list[Policy]:
    unknown = set(names) - {policy.name for policy in policies}
    if unknown:
        raise NotFoundError(f"no policy without faults is called {' or '.join(sorted(unknown))}: see 'policy list'")
    watched = []
    for policy in policies:
        if names and policy.name not in names:
            continue
        if policy.verification.proved_within is None:
            warn(f"policy {policy.name} has no proved_within, so that no VM of it has to be proved")
        else:
            watched.append(policy)
    return watched
