"""``vmkeep vm``: the VMs of a vCenter."""

from __future__ import annotations

import click

from vmkeep.cli.completions import complete_vms
from vmkeep.cli.options import (
    json_option,
    repository_option,
    site_from,
    vcenter_from,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, print_table, size
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.errors import TransientError
from vmkeep.flows import held_vms
from vmkeep.model.selector import shown_name
from vmkeep.vsphere import inventory
from vmkeep.vsphere.session import open_session


@click.group(cls=Verbs)
def vm() -> None:
    """List and show the VMs of a vCenter; free VMs that dead runs keep from being moved."""


@vm.command("list", examples={"List the VMs": "vmkeep vm list", "List them for a script": "vmkeep vm list --json"})
@option(
    "--all",
    "everything",
    section=Section.WHAT,
    is_flag=True,
    help="List also VMs that other software manages: vSphere's own, placeholders of replicas. They can be backed up "
    "by name.",
)
@vsphere_options
@json_option
def list_vms(everything: bool, as_json: bool, **vsphere: str | None) -> None:
    """List the VMs, and of each that cannot be backed up the reason."""
    with open_session(vcenter_from(**vsphere)) as session:
        every = inventory.list_vms(session)
    listed = [record for record in every if everything or record.managed_by is None]
    if len(listed) < len(every):
        click.echo(f"{len(every) - len(listed)} VMs that other software manages are not listed: see --all", err=True)
    if as_json:
        print_json(listed)
        return
    rows = [
        (
            record.moref, shown_name(record.name), record.power_state, record.instance_uuid, record.ip_address,
            record.not_protectable, *([record.managed_by] if everything else []),
        )
        for record in listed
    ]  # fmt: skip
    managed = ("managed by",) if everything else ()
    print_table(("moref", "name", "power", "uuid", "IP", "not protectable", *managed), rows)


@vm.command("show", examples={"Show a VM and its disks": "vmkeep vm show app01"})
@click.argument("selector", metavar="VM", shell_complete=complete_vms)
@vsphere_options
@json_option
def show(selector: str, as_json: bool, **vsphere: str | None) -> None:
    """Show one VM and its disks.

    VM is a name, an inventory path, or a selector: name:, uuid:, moref: or ipaddr: and a value.
    """
    with open_session(vcenter_from(**vsphere)) as session:
        described = inventory.describe_vm(session, inventory.find_vm(session, selector).moref)
    if as_json:
        print_json(described)
        return
    vm = described.identity
    click.echo(f"{shown_name(vm.name)} ({vm.moref}, {one_line(vm.inventory_path or '')})")
    click.echo(f"  instance UUID    {vm.instance_uuid}")
    click.echo(f"  power            {_power(described)}")
    click.echo(f"  change tracking  {'on' if described.tracked else 'off'}")
    warnings = (described.not_protectable, described.managed_by and f"managed by {described.managed_by}")
    for warning in (
        *filter(None, warnings),
        *(f"vSphere takes no snapshot: {w}" for w in described.snapshot_obstacles),
    ):
        click.echo(f"  warning          {one_line(warning)}")
    rows = [
        (
            disk.key, disk.label, disk.address, size(disk.capacity), disk.backing, disk.disk_mode,
            f"no: {disk.skip.why}" if disk.skip else "yes", disk.file_name,
        )
        for disk in described.disks
    ]  # fmt: skip
    print_table(("key", "label", "address", "capacity", "backing", "mode", "backed up", "file"), rows)


def _power(described: inventory.VmDescription) -> str:
    words = {inventory.PowerState.ON: "running", inventory.PowerState.SUSPENDED: "suspended"}
    return "off, a template" if described.template else words.get(described.power, "off")


@vm.command("sweep", examples={"List the held VMs, and change nothing": "vmkeep vm sweep --dry-run"})
@repository_option
@vsphere_options
@vddk_option
@option("--dry-run", is_flag=True, help="List the VMs that are held, and change nothing.")
@json_option
def sweep(*, dry_run: bool, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Free VMs that a dead backup or restore keeps from being moved by Storage vMotion.

    VMs of living runs, and VMs that other programs hold, are left alone. The DAG snapshot_sweep does the same.
    """
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    held = held_vms.find_held(site)
    if dry_run:
        if as_json:
            print_json(held)
            return
        rows = [(one.vm, one.vm_name, one.run, "in use" if one.alive else "no living run") for one in held]
        print_table(("moref", "name", "run", "state"), rows)
        return
    done = held_vms.let_go(site, held)
    if as_json:
        print_json(done)
    else:
        for line in done.lines or ("no VM is kept from being moved",):
            click.echo(one_line(line))
    if done.failed:
        raise TransientError(f"{len(done.failed)} VM(s) still cannot be moved by Storage vMotion; try again later")
