"""``vmkeep setup``: what an administrator does once, before the first backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.options import json_option, vcenter_from, vsphere_options
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.model.job import to_plain
from vmkeep.model.purpose import DEFAULT_ROLE, PURPOSES

if TYPE_CHECKING:
    from vmkeep.flows.role_setup import RolePlan


@click.group(cls=Verbs)
def setup() -> None:
    """Make the role that a vCenter user needs, and grant it."""


@setup.command(
    "role",
    examples={
        "Show the difference between the role and the rights that are needed": "vmkeep setup role --plan",
        "Make the role, and grant it on the whole inventory": "vmkeep setup role --assign backup@vsphere.local --on /",
        "Make a role for backups alone, and grant it on one datacenter": "vmkeep setup role --name backup-only "
        "--for backup --assign backup@vsphere.local --on /Berlin",
    },
)
@option("--name", section=Section.WHAT, default=DEFAULT_ROLE, show_default=True, help="Name of the role.")
@option(
    "--for", "purposes", section=Section.WHAT, multiple=True, type=click.Choice(list(PURPOSES)),
    help="Only the privileges for this kind of run; can be repeated. By default those of every kind.",
)  # fmt: skip
@option("--assign", section=Section.WHAT, metavar="USER", help="Grant the role to this user, e.g. name@domain.")
@option("--group", section=Section.WHAT, is_flag=True, help="The name at --assign is that of a group.")
@option(
    "--on", section=Section.WHAT, metavar="PATH",
    help="Grant it on this object of the inventory and on all below, e.g. /Berlin; / is the root.",
)  # fmt: skip
@option(
    "--remove-others", is_flag=True, help="Take away the privileges of the role that no such run needs; else they stay."
)
@option("--replace", is_flag=True, help="Grant it even where the user loses privileges of another role by that.")
@option("--plan", "dry_run", is_flag=True, help="Show the difference, and change nothing.")
@vsphere_options
@json_option
def role(dry_run: bool, as_json: bool, **given: str | bool | tuple[str, ...] | None) -> None:
    """Make the vSphere role for backups and restores, or give it the privileges that it lacks.

    Log in as an administrator, not as the backup user: vSphere lets nobody give a privilege that he lacks. The role has
    the privileges that 'vmkeep vsphere role' lists, with those that only some VMs need. A second call changes nothing.
    """
    from vmkeep.flows.role_setup import RoleRequest, set_up_role  # takes time to import

    login = {name: given.pop(name) for name in ("vcenter", "user", "password_file", "thumbprint", "ca_file")}
    plan = set_up_role(vcenter_from(**login), RoleRequest(**given), dry_run=dry_run)  # type: ignore[arg-type]
    if as_json:
        print_json({**to_plain(plan), "changes": plan.changes, "carried_out": plan.changes and not dry_run})
        return
    _tell(plan, dry_run=dry_run)


def _tell(plan: RolePlan, *, dry_run: bool) -> None:
    states = (
        ("add" if dry_run else "added", plan.adds),
        ("remove" if dry_run else "removed", plan.removes),
        ("there", plan.keeps),
        ("there, not needed", plan.others),
        ("unknown to this server", plan.unknown),
    )
    print_table(
        ("privilege", "state"),
        [(name, state) for state, names in states for name in names],
        none="no privilege is needed",
    )
    click.echo(_ending(plan, dry_run=dry_run))
    if plan.loses:
        warn(
            f"{plan.assign} has other privileges on {plan.on}; by the new role these are lost: {', '.join(plan.loses)}"
        )
    if plan.root_only:
        warn(f"on the root of the inventory, the user needs besides: {', '.join(plan.root_only)}")


def _ending(plan: RolePlan, *, dry_run: bool) -> str:
    where = f"role '{plan.name}' at {plan.server}"
    if not plan.changes:
        return f"{where} is as it has to be{f', and {plan.assign} has it on {plan.on}' if plan.granted else ''}"
    made = "is changed" if plan.exists else "is made"
    done = [made] if plan.adds or plan.removes or not plan.exists else []
    if plan.assign and not plan.granted:
        done.append(f"is granted to {plan.assign} on {plan.on}")
    told = " and ".join(done)
    return f"plan: {where} {told}" if dry_run else f"{where} {told}"
