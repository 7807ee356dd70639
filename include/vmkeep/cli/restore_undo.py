"""``vmkeep restore undo`` and ``vmkeep restore accept``: go back to the snapshot that a restore kept, or remove it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace

import click

from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.options import json_option, repository_option, site_from, vcenter_from, vddk_option, vsphere_options
from vmkeep.cli.output import one_line, print_json, print_line, warn
from vmkeep.cli.pages import command, option
from vmkeep.cli.questions import require_yes, yes_option
from vmkeep.cli.times import shown_zone
from vmkeep.flows.undo_values import Undoable, Undone
from vmkeep.flows.undo_wording import lines_of_question
from vmkeep.model.job import to_plain
from vmkeep.model.site import Site

_of_restore = option(
    "--restore",
    "restore_run",
    metavar="RUN",
    help="The restore, by its run; by default the only one that keeps a snapshot.",
)
_dry_run = option("--dry-run", is_flag=True, help="Show the VM and the restore, and change nothing.")


@command(
    "undo",
    examples={
        "Put a VM back to the state before its restore": "vmkeep restore undo app01",
        "See what would be undone": "vmkeep restore undo app01 --dry-run",
    },
)
@click.argument("vm", metavar="VM", shell_complete=complete_selectors)
@_of_restore
@option("--power-on", is_flag=True, help="Start the VM afterwards.")
@repository_option
@vsphere_options
@vddk_option
@_dry_run
@yes_option
@json_option
def undo(
    vm: str,
    restore_run: str | None,
    power_on: bool,
    repository: str | None,
    vddk: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **vsphere: str | None,
) -> None:
    """Put a VM back to the state before a restore.

    It works for a restore that was made with --undo snapshot, also for one that failed half-way. The VM is switched
    off, all that it has written since is lost, and the snapshot is removed. The next backup is a full one.
    """
    from vmkeep.flows.undo import find_undoable, require_undoable, undo_restore  # takes time to import

    site = _site(repository, vddk, vsphere)
    found = find_undoable(site, vm, restore=restore_run)
    _show(found, undo=True, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    require_undoable(found)
    require_yes(f"Undo restore {found.restore} of VM {one_line(str(found.vm))}?", yes=yes, as_json=as_json)
    run = f"cli-{uuid.uuid4().hex[:12]}"
    done = undo_restore(site, _very(found), run=run, restore=found.restore, power_on=power_on)
    _print_undone(done, as_json=as_json)


@command("accept", examples={"Keep the restored state": "vmkeep restore accept app01"})
@click.argument("vm", metavar="VM", shell_complete=complete_selectors)
@_of_restore
@repository_option
@vsphere_options
@vddk_option
@_dry_run
@yes_option
@json_option
def accept(
    vm: str,
    restore_run: str | None,
    repository: str | None,
    vddk: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **vsphere: str | None,
) -> None:
    """Remove the snapshot that a restore keeps.

    The VM stays as it is, and may run meanwhile. After that, the restore cannot be undone.
    """
    from vmkeep.flows.undo import accept_restore, find_undoable  # takes time to import

    site = _site(repository, vddk, vsphere)
    found = find_undoable(site, vm, restore=restore_run)
    _show(found, undo=False, dry_run=dry_run, as_json=as_json)
    if dry_run:
        return
    require_yes(f"Accept restore {found.restore} of VM {one_line(str(found.vm))}?", yes=yes, as_json=as_json)
    _print_undone(accept_restore(site, _very(found), restore=found.restore), as_json=as_json)


def _site(repository: str | None, vddk: str | None, vsphere: Mapping[str, str | None]) -> Site:
    """Return the site. VDDK is optional, because only the access hold of a dead restore is ended by it."""
    return replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere), vddk=vddk or None)


def _show(found: Undoable, *, undo: bool, dry_run: bool, as_json: bool) -> None:
    """Show the restore, and what would become of the VM."""
    if not as_json:
        for line in lines_of_question(found, shown_zone(), undo=undo):
            print_line(line)
    elif dry_run:
        print_json({"dry_run": True, "restore": to_plain(found)})


def _very(found: Undoable) -> str:
    """Return the selector of the very VM that was shown."""
    return f"moref:{found.vm.moref}"


def _print_undone(done: Undone, *, as_json: bool) -> None:
    if as_json:
        print_json(to_plain(done))
        return
    what = "is as it was before" if done.undone else "keeps the state of"
    powered = ", powered on" if done.powered_on else ""
    click.echo(f"VM {one_line(str(done.vm))} {what} restore {done.restore}{powered}; its snapshot is removed")
    for warning in done.warnings:
        warn(warning)
