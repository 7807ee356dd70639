"""``vmkeep repo lock``: locks of a bucket go on, and what somebody has hidden comes back."""

from __future__ import annotations

import click

from vmkeep.blobs import open_store
from vmkeep.cli.options import json_option, open_given, repository_option, require
from vmkeep.cli.output import print_json, progress_bars
from vmkeep.errors import CorruptError, UsageError
from vmkeep.model.job import to_plain


@click.command("lock")
@repository_option
@click.option("--extend", is_flag=True, help="Lock again for the full time what is needed and has less than half left.")
@click.option("--restore", is_flag=True, help="Bring back what was deleted or overwritten; takes no passphrase.")
@json_option
def lock(repository: str | None, extend: bool, restore: bool, as_json: bool) -> None:
    """Look for blobs that somebody has deleted or overwritten behind our back in a bucket that keeps versions.

    Their originals are there as long as they are locked. Exit code 90 when there are any, unless they were restored.
    """
    if extend and restore:
        raise UsageError("choose one of --extend and --restore")
    if extend:
        _extend(repository, as_json=as_json)
    else:
        _look(repository, restore=restore, as_json=as_json)


def _extend(repository: str | None, *, as_json: bool) -> None:
    from vmkeep.flows.maintenance import keep_locks, require_kept  # takes time to import

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        report, unknown = keep_locks(opened, on_progress=bars("locks"))
    if as_json:
        print_json(to_plain(report))
    else:
        click.echo(f"{report.extended} locks extended, {report.kept} hold for half of their time or longer")
    require_kept(opened.location, report, unknown)


def _look(repository: str | None, *, restore: bool, as_json: bool) -> None:
    from vmkeep.maintenance.locks import bring_back, find_hidden

    location = require(repository, "--repository", "VMKEEP_REPOSITORY")
    store = open_store(location)
    found = bring_back(store) if restore else find_hidden(store)
    if as_json:
        print_json({"restored": restore, "found": to_plain(found)})
    else:
        for each in found:
            click.echo(f"{each}{', and is visible again' if restore else ''}")
    if found and not restore:
        raise CorruptError(f"{location}: {len(found)} blob(s) were hidden: 'vmkeep repo lock --restore'")
    if not as_json and not found:
        click.echo("nothing was deleted or overwritten by somebody else")
