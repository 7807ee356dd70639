"""``vmkeep vsphere``: the rights that a vCenter has to grant."""

from __future__ import annotations

import click

from vmkeep.cli.options import json_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.flows.rights import PURPOSES, needed_rights


@click.group(cls=Verbs)
def vsphere() -> None:
    """Print the rights that a vCenter user needs."""


@vsphere.command(
    "role",
    examples={
        "List all privileges": "vmkeep vsphere role",
        "List the privileges for backups only": "vmkeep vsphere role --for backup",
    },
)
@option(
    "--for",
    "purpose",
    section=Section.WHAT,
    type=click.Choice(list(PURPOSES)),
    help="Only the privileges that this kind of run needs.",
)
@json_option
def role(purpose: str | None, as_json: bool) -> None:
    """List the privileges for backups and restores, each with the object that it is needed on.

    The list is made from the vSphere methods that vmkeep calls. Each run checks the same privileges before it changes
    anything. vSphere adds System.Anonymous, System.View and System.Read to every role.
    """
    chosen = needed_rights(purpose)
    if as_json:
        print_json(
            [
                {
                    "for": word,
                    "on": right.on.name.lower(),
                    "privilege": right.privilege,
                    "step": right.step,
                    "only_if": right.when,
                }
                for word, right in chosen
            ]
        )
        return
    print_table(
        ("for", "on", "privilege", "only if"), [(word, right.on, right.privilege, right.when) for word, right in chosen]
    )
