"""``vmkeep vm``: the VMs of a vCenter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.known_points import known_origins
from vmkeep.cli.options import (
    json_option,
    policies_option,
    repository_option,
    selector_option,
    vcenter_from,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import age, counted, size
from vmkeep.selection import parse_selector

if TYPE_CHECKING:
    from vmkeep.flows import listing
    from vmkeep.policy import Policy

_POWER = {"poweredOn": "running", "poweredOff": "off", "suspended": "suspended"}
_LAST_POINT = "last point"
_FIRST_TO_GO = ("uuid", "IP", "host", "size", "state", "age")
"""Columns that a narrow terminal does without, in this order."""


@click.group(
    cls=Verbs,
    late={
        "clean": "vmkeep.cli.vm_clean:clean",
        "proved": "vmkeep.cli.vm_proved:proved",
        "sweep": "vmkeep.cli.vm_sweep:sweep",
        "thaw": "vmkeep.cli.vm_thaw:thaw",
    },
)
def vm() -> None:
    """List and show the VMs of a vCenter, their proofs and last clean points; repair what dead runs left on them."""


@vm.command(
    "list",
    examples={
        "List the VMs": "vmkeep vm list",
        "List the VMs that fit a selector": "vmkeep vm list -s 'folder:Production and not tag:backup/never'",
        "List them with the newest restore point of each": "vmkeep vm list -r /backup/repo",
        "List them for a script": "vmkeep vm list --json",
    },
)
@selector_option("List only the VMs that fit, e.g. 'name:web* and powerstate:on'.")
@option(
    "--all",
    "everything",
    section=Section.WHAT,
    is_flag=True,
    help="List also VMs that other software manages: vSphere's own, placeholders of replicas. They can be backed up by "
    "name.",
)
@policies_option
@repository_option
@vsphere_options
@json_option
def list_vms(
    selector: str | None, everything: bool, policies: Path | None, repository: str | None, as_json: bool,
    **vsphere: str | None,
) -> None:  # fmt: skip
    """List the VMs by name, with power, size and state.

    If a repository is given, each VM's newest restore point and its age are shown; if policies are given, those that
    take it. The state tells why a VM cannot be backed up. A narrow terminal shows fewer columns, a pipe and --json all.
    """
    from vmkeep.flows import listing  # takes time to import

    wanted = parse_selector(selector) if selector is not None else None
    vcenter = vcenter_from(**vsphere)
    origins = known_origins(repository)
    taking = _sound_policies(policies)
    found = listing.list_vms(vcenter, origins or (), selector=wanted, policies=taking)
    for note in found.notes:
        warn(note)
    listed = [record for record in found.vms if everything or record.managed_by is None]
    if left := len(found.vms) - len(listed):
        click.echo(f"{counted(left, 'VM')} that other software manages not listed: see --all", err=True)
    if as_json:
        print_json(listed)
        return
    without = {
        *((_LAST_POINT, "age") if origins is None else ()),
        *(("policy",) if taking is None else ()),
        *(("managed by",) if not everything else ()),
    }
    _print_list(listed, without=without)


def _sound_policies(folder: Path | None) -> Sequence[Policy] | None:
    """Return the policies of a folder that have no faults; nothing where no folder is given."""
    if folder is None:
        return None
    from vmkeep.flows.policies import policies_in  # takes time to import

    files = policies_in(folder)
    if faulty := sum(bool(read.faults) for read in files):
        warn(f"{counted(faulty, 'policy file')} with faults left out: see 'vmkeep policy check'")
    return [read.policy for read in files if read.policy is not None]


def _print_list(listed: Sequence[listing.ListedVm], *, without: Collection[str]) -> None:
    zone = shown_zone()
    columns: dict[str, Callable[[listing.ListedVm], object]] = {
        "moref": lambda vm: vm.moref,
        "name": lambda vm: shown_name(vm.name),
        "power": lambda vm: _POWER.get(vm.power_state or "", vm.power_state),
        "size": lambda vm: "" if vm.size is None else size(vm.size),
        "policy": lambda vm: ", ".join(vm.policies or ()) or "none",
        _LAST_POINT: lambda vm: shown_time(vm.last_point_at, zone) if vm.last_point_at else "none",
        "age": lambda vm: "" if vm.last_point_age_seconds is None else age(vm.last_point_age_seconds),
        "state": _state,
        "host": lambda vm: vm.host,
        "IP": lambda vm: vm.ip_address or vm.last_ip_address,
        "uuid": lambda vm: vm.instance_uuid,
        "managed by": lambda vm: vm.managed_by,
    }
    for heading in without:
        del columns[heading]
    rows = sorted(listed, key=lambda vm: (vm.name.casefold(), vm.name, vm.moref))
    headings = tuple(f"{_LAST_POINT} ({zone})" if heading == _LAST_POINT else heading for heading in columns)
    print_table(
        headings,
        [[value(vm) for value in columns.values()] for vm in rows],
        first_to_go=_FIRST_TO_GO,
        none="no VM fits, or vSphere shows none to this user",
    )


def _state(vm: listing.ListedVm) -> str:
    words = ("template" if vm.template else "", f"not protectable: {vm.not_protectable}" if vm.not_protectable else "")
    return ", ".join(filter(None, words)) or "ok"


@vm.command("show", examples={"Show a VM and its disks": "vmkeep vm show app01"})
@click.argument("selector", metavar="VM", shell_complete=complete_selectors)
@vsphere_options
@json_option
def show(selector: str, as_json: bool, **vsphere: str | None) -> None:
    """Show one VM and its disks.

    VM is a name, an inventory path, or a selector that one VM fits (docs/cli.md: Selectors).
    """
    from vmkeep.flows import listing  # takes time to import

    described = listing.describe_vm(vcenter_from(**vsphere), selector)
    if as_json:
        print_json(described)
        return
    vm = described.identity
    click.echo(f"{shown_name(vm.name)} ({vm.moref}, {one_line(vm.inventory_path or '')})")
    click.echo(f"  instance UUID    {vm.instance_uuid}")
    click.echo(f"  power            {_POWER[described.power]}{', a template' if described.template else ''}")
    click.echo(f"  host             {one_line(described.host or 'unknown')}")
    click.echo(f"  change tracking  {'on' if described.tracked else 'off'}")
    warnings = (
        described.not_protectable and f"not protectable: {described.not_protectable}",
        described.managed_by and f"managed by {described.managed_by}",
        *(f"vSphere takes no snapshot: {obstacle}" for obstacle in described.snapshot_obstacles),
    )
    for warning in filter(None, warnings):
        click.echo(f"  warning          {one_line(warning)}")
    rows = [
        (
            disk.key, disk.label, disk.address, size(disk.capacity), disk.backing, disk.disk_mode,
            f"no: {disk.skip.why}" if disk.skip else "yes", disk.file_name,
        )
        for disk in described.disks
    ]  # fmt: skip
    print_table(
        ("key", "label", "address", "capacity", "backing", "mode", "backed up", "file"), rows, none="the VM has no disk"
    )
