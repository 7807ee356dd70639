"""``vmkeep policy unproved``: the VMs whose last proof is older than their policy allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.errors import NotFoundError, Recovery, SomeFailedError
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import counted
from vmkeep.policy import Policy

if TYPE_CHECKING:
    from vmkeep.flows.repositories import Repository
    from vmkeep.model.site import VCenter


def tell_unproved(
    policies: Sequence[Policy],
    names: Sequence[str],
    repository: Repository,
    *,
    vcenter: VCenter | None,
    catalog: str,
    as_json: bool,
) -> None:
    """Print the VMs of the named policies, or of all that have a ``proved_within``, that were not proved in time.

    :param vcenter: tells which VMs the policies take; ``None``: the newest points tell it.
    :param catalog: the SQLAlchemy URL of the catalog, from which the newest points are read for a vCenter.
    :raises NotFoundError: there is no sound policy of such a name.
    :raises SomeFailedError: a VM was not proved in time.
    """
    from vmkeep.flows.unproved import proofs_of_policy, standings_at  # takes time to import

    watched = _watched(policies, names)
    standings = standings_at(repository, vcenter, policies, catalog=catalog) if vcenter is not None and watched else ()
    looks = {policy.name: proofs_of_policy(repository, policy, standings=standings) for policy in watched}
    if watched and vcenter is None:
        warn("no --vcenter tells which VMs the policies take, so that a VM without a restore point is not counted")
    for name in (name for name, look in looks.items() if not look.watched):
        warn(f"no VM of policy {name} is known: no newest restore point names it")
    found = [vm for look in looks.values() for vm in look.unproved]
    if as_json:
        print_json(found)
    else:
        zone = shown_zone()
        cells = [
            (vm.policy, shown_name(vm.vm_name), shown_time(vm.proved_at, zone) if vm.proved_at else "never",
             vm.proved_by or "")
            for vm in found
        ]  # fmt: skip
        print_table(("policy", "name", f"last proved ({zone})", "by"), cells, none="no VM has to be proved anew")
        number = counted(sum(look.watched for look in looks.values()), "VM")
        click.echo(f"{len(found)} of {number} not proved in time", err=True)
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
