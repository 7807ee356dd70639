"""``vmkeep repo lock``: extend the locks of a bucket, and bring back blobs that somebody has hidden."""

from __future__ import annotations

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.options import json_option, location_from, open_given, repository_option
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import Section, command, option
from vmkeep.errors import CorruptError, UsageError
from vmkeep.model.job import to_plain
from vmkeep.model.wording import agreeing, counted


@command(
    "lock",
    examples={
        "Extend the locks, every day": "vmkeep repo lock --extend",
        "Look for blobs that somebody has hidden": "vmkeep repo lock",
        "Bring the hidden blobs back": "vmkeep repo lock --restore",
    },
)
@option(
    "--extend",
    section=Section.WHAT,
    is_flag=True,
    help="Lock needed blobs for the full time again if less than half of it is left.",
)
@option(
    "--restore",
    section=Section.WHAT,
    is_flag=True,
    help="Bring back blobs that were deleted or overwritten; needs no passphrase.",
)
@repository_option
@json_option
def lock(repository: str | None, extend: bool, restore: bool, as_json: bool) -> None:
    """Look for blobs that somebody else has deleted or overwritten in a bucket that keeps versions.

    The originals exist as long as they are locked. The exit code is 90 when such blobs are found and not restored.
    """
    if extend and restore:
        raise UsageError("choose one of --extend and --restore")
    if extend:
        _extend(repository, as_json=as_json)
    else:
        _look(repository, restore=restore, as_json=as_json)


def _extend(repository: str | None, *, as_json: bool) -> None:
    from vmkeep.flows.upkeep import keep_locks, require_kept  # takes time to import

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        report, unknown = keep_locks(opened, on_progress=bars("locks"))
    if as_json:
        print_json(to_plain(report))
    else:
        lasting = f"{report.kept:,} {agreeing(report.kept, 'lasts', 'last')} for half of the time or longer"
        click.echo(f"{counted(report.extended, 'lock')} extended; {lasting}")
    require_kept(opened.location, report, unknown)


def _look(repository: str | None, *, restore: bool, as_json: bool) -> None:
    from vmkeep.flows.upkeep import bring_back, find_hidden  # takes time to import

    location = location_from(repository)
    found = bring_back(location) if restore else find_hidden(location)
    if as_json:
        print_json({"restored": restore, "found": to_plain(found)})
    else:
        for each in found:
            click.echo(f"{each}{', and is visible again' if restore else ''}")
    if found and not restore:
        raise CorruptError(
            f"{location}: {counted(len(found), 'blob')} hidden by somebody else: run 'vmkeep repo lock --restore'"
        )
    if not as_json and not found:
        click.echo("nothing was deleted or overwritten by somebody else")
