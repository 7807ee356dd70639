"""``vmkeep vm``: what vSphere has."""

from __future__ import annotations

import click

from vmkeep.cli.options import json_option, vcenter_from, vsphere_options
from vmkeep.cli.output import print_json, print_table, size
from vmkeep.vsphere import inventory
from vmkeep.vsphere.session import open_session


@click.group()
def vm() -> None:
    """List and show the VMs of a vCenter."""


@vm.command("list")
@vsphere_options
@json_option
def list_vms(as_json: bool, **vsphere: str | None) -> None:
    """List every VM."""
    with open_session(vcenter_from(**vsphere)) as session:
        found = sorted(inventory.list_vms(session), key=lambda record: (record.name, record.moref))
    if as_json:
        print_json(found)
        return
    print_table(
        ("moref", "name", "power", "uuid", "IP"),
        [(record.moref, record.name, record.power_state, record.instance_uuid, record.ip_address) for record in found],
    )


@vm.command("show")
@click.argument("selector", metavar="VM")
@vsphere_options
@json_option
def show(selector: str, as_json: bool, **vsphere: str | None) -> None:
    """Show one VM: name:, uuid:, moref: or ipaddr:, or just its name."""
    with open_session(vcenter_from(**vsphere)) as session:
        described = inventory.describe_vm(session, inventory.find_vm(session, selector).moref)
    if as_json:
        print_json(described)
        return
    click.echo(f"{described.identity.name} ({described.identity.moref}, {described.identity.inventory_path})")
    click.echo(f"  instance UUID    {described.identity.instance_uuid}")
    click.echo(f"  power            {'running' if described.running else 'off'}")
    click.echo(f"  change tracking  {'on' if described.tracked else 'off'}")
    rows = [
        (
            disk.key, disk.label, disk.address, size(disk.capacity), disk.backing, disk.disk_mode,
            f"no: {disk.skip.why}" if disk.skip else "yes", disk.file_name,
        )
        for disk in described.disks
    ]  # fmt: skip
    print_table(("key", "label", "address", "capacity", "backing", "mode", "backed up", "file"), rows)
