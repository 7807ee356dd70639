"""``vmkeep vsphere``: the rights that a vCenter has to grant, and the ways from this machine to a VM's disks."""

from __future__ import annotations

import click

from vmkeep.cli import settings
from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.configuration import value_of
from vmkeep.cli.options import json_option, vcenter_from, vddk_option, vsphere_options
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.model.purpose import PURPOSES
from vmkeep.model.selector import shown_name
from vmkeep.model.site import Site, parse_drivers


@click.group(cls=Verbs)
def vsphere() -> None:
    """Print the rights that a vCenter user needs; check which transports reach a VM's disks."""


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
    help="Only the privileges that this kind of run needs; by default those of every kind.",
)
@json_option
def role(purpose: str | None, as_json: bool) -> None:
    """List the privileges for backups and restores, each with the object that it is needed on.

    The list is made from the vSphere methods that vmkeep calls. Each run checks the same privileges before it changes
    anything. vSphere adds System.Anonymous, System.View and System.Read to every role.
    """
    from vmkeep.flows.rights import needed_rights  # takes time to import

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
        ("for", "on", "privilege", "only if"),
        [(word, right.on, right.privilege, right.when) for word, right in chosen],
        none="no privilege is needed",
    )


@vsphere.command(
    "check", examples={"Show the transport modes that reach a VM's disks from this proxy": "vmkeep vsphere check app01"}
)
@click.argument("selector", metavar="VM", shell_complete=complete_selectors)
@vsphere_options
@vddk_option
@json_option
def check(selector: str, vddk: str | None, as_json: bool, **options: str | None) -> None:
    """Show by which transport modes this machine can read the disks of a VM, and why not by the others.

    Run it on the proxy, as the user of its worker. A backup checks the same before it takes a snapshot. Nothing is
    changed.
    """
    from vmkeep.flows import transports  # takes time to import

    drivers = parse_drivers(value_of(settings.DISK_DRIVERS))
    site = Site(repository="", vcenter=vcenter_from(**options), vddk=vddk or None, disk_drivers=drivers)
    found = transports.check(site, selector)
    rows = [(verdict.disk, verdict.mode, verdict.why_not) for verdict in found.verdicts]
    if as_json:
        disks = [
            {"disk": disk.address, "label": disk.label, "transport": mode, "possible": not why, "why_not": why or None}
            for disk, mode, why in rows
        ]
        print_json({"vm": found.vm.moref, "driver": found.driver, "proxy": found.proxy, "transports": disks})
        return
    click.echo(f"{shown_name(found.vm.name)} ({found.vm.moref})\n  driver  {found.driver}\n  proxy   {found.proxy}")
    print_table(
        ("disk", "label", "transport", "possible", "because"),
        [(disk.address, disk.label, mode, "no" if why else "yes", why) for disk, mode, why in rows],
        none="the VM has no disk",
    )
