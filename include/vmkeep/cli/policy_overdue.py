"""``vmkeep policy overdue``: the VMs whose newest good restore point is older than their policy allows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.clock import now
from vmkeep.errors import NotFoundError, Recovery, SomeFailedError
from vmkeep.model.selector import shown_name
from vmkeep.model.site import Site
from vmkeep.model.wording import counted
from vmkeep.policy import Policy


def tell_overdue(policies: Sequence[Policy], names: Sequence[str], site: Site, *, as_json: bool) -> None:
    """Print the overdue VMs of the named policies, or of all policies that have a ``max_age``.

    :raises NotFoundError: there is no sound policy of such a name.
    :raises SomeFailedError: a VM is overdue.
    """
    watched = _watched(policies, names)
    rows = [row for policy in watched for row in _overdue(policy, policies, site)]
    if as_json:
        print_json(rows)
    else:
        zone = shown_zone()
        cells = [
            (row["policy"], row["moref"], shown_name(row["name"]),
             shown_time(row["last_point_at"], zone) if row["last_point_at"] else "none")
            for row in rows
        ]  # fmt: skip
        print_table(("policy", "moref", "name", f"last good point ({zone})"), cells, none="no VM is overdue")
    if rows:
        raise SomeFailedError(f"{counted(len(rows), 'VM')} overdue", recovery=Recovery.STOP)


def _watched(policies: Sequence[Policy], names: Sequence[str]) -> list[Policy]:
    unknown = set(names) - {policy.name for policy in policies}
    if unknown:
        raise NotFoundError(f"no policy without faults is called {' or '.join(sorted(unknown))}: see 'policy list'")
    watched = []
    for policy in policies:
        if names and policy.name not in names:
            continue
        if policy.max_age is None:
            warn(f"policy {policy.name} has no max_age, so that no VM of it is overdue")
        else:
            watched.append(policy)
    return watched


def _overdue(policy: Policy, policies: Sequence[Policy], site: Site) -> list[dict[str, Any]]:
    from vmkeep.flows.windows import overdue_vms, plan_window  # takes time to import

    at = now()
    others = [one for one in policies if one.name != policy.name and one.vsphere == policy.vsphere]
    plan = plan_window(site, policy, others, opened_at=at, by_hand=True, now=at)
    return [
        {"policy": policy.name, "moref": vm.moref, "name": vm.name, "last_point_at": vm.last_point_at}
        for vm in overdue_vms(plan, (), at)
    ]
