"""``vmkeep restore undo`` and ``vmkeep restore accept``: go back to the snapshot that a restore kept, or remove it."""

from __future__ import annotations

import uuid

import click

from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.options import json_option, repository_option, site_from, vsphere_options
from vmkeep.cli.output import one_line, print_json
from vmkeep.cli.pages import command, option
from vmkeep.flows.undo import Undone, accept_restore, undo_restore
from vmkeep.model.job import to_plain

_of_restore = option(
    "--restore",
    "restore_run",
    metavar="RUN",
    help="The restore, by its run; by default the only one that keeps a snapshot.",
)


@command("undo", examples={"Put a VM back to the state before its restore": "vmkeep restore undo app01"})
@click.argument("vm", metavar="VM", shell_complete=complete_selectors)
@_of_restore
@option("--power-on", is_flag=True, help="Start the VM afterwards.")
@repository_option
@vsphere_options
@json_option
def undo(
    vm: str, restore_run: str | None, power_on: bool, repository: str | None, as_json: bool, **vsphere: str | None
) -> None:
    """Put a VM back to the state before a restore.

    It works for a restore that was made with --undo snapshot, also for one that failed half-way. The VM is switched
    off, all that it has written since is lost, and the snapshot is removed. The next backup is a full one.
    """
    site = site_from(repository=repository, **vsphere)
    run = f"cli-{uuid.uuid4().hex[:12]}"
    _print_undone(undo_restore(site, vm, run=run, restore=restore_run, power_on=power_on), as_json=as_json)


@command("accept", examples={"Keep the restored state": "vmkeep restore accept app01"})
@click.argument("vm", metavar="VM", shell_complete=complete_selectors)
@_of_restore
@repository_option
@vsphere_options
@json_option
def accept(vm: str, restore_run: str | None, repository: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Remove the snapshot that a restore keeps.

    The VM stays as it is, and may run meanwhile. After that, the restore cannot be undone.
    """
    site = site_from(repository=repository, **vsphere)
    _print_undone(accept_restore(site, vm, restore=restore_run), as_json=as_json)


def _print_undone(done: Undone, *, as_json: bool) -> None:
    if as_json:
        print_json(to_plain(done))
        return
    what = "is as it was before" if done.undone else "keeps the state of"
    powered = ", powered on" if done.powered_on else ""
    click.echo(f"VM {one_line(str(done.vm))} {what} restore {done.restore}{powered}; its snapshot is removed")
