"""``vmkeep repo repair``: narrow verbs that mend what a check found, and never delete anything."""

from __future__ import annotations

import click

from vmkeep.cli.groups import Verbs
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, progress_bars, size
from vmkeep.cli.repo_copy import open_second, second_passphrase_option
from vmkeep.errors import CorruptError
from vmkeep.model.job import to_plain

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing of it.")


@click.group("repair", cls=Verbs)
def repair() -> None:
    """Mend what 'repo check' found; nothing is ever deleted. In this order: index, heal, points."""


@repair.command("index")
@repository_option
@_dry_run
@json_option
def index(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """List in the index what packs hold and no good segment of it says."""
    from vmkeep.maintenance.repair import repair_index

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        report = repair_index(opened, dry_run=dry_run, on_progress=bars("index"))
    if as_json:
        print_json(to_plain(report))
        return
    for key, why in report.segments_damaged.items():
        click.echo(f"{key}: {why}; not looked in any more")
    for pack in report.packs_unreadable:
        click.echo(f"pack {pack}: no frame of it can be read")
    done = "would be listed" if dry_run else "listed"
    click.echo(f"{len(report.packs_listed)} pack(s) {done} again, with {report.entries} entries")


@repair.command("points")
@repository_option
@_dry_run
@json_option
def points(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """Mark damaged points and say what of them is lost; take the mark from those that are whole again.

    The rest of a damaged point can be restored, but no increment continues it. Exit code 90 when a point is damaged.
    """
    from vmkeep.maintenance.repair import repair_points

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        report = repair_points(opened, dry_run=dry_run, on_progress=bars("points"))
    if as_json:
        print_json(to_plain(report))
    else:
        for key in report.unreadable:
            click.echo(f"{key}: the manifest is damaged: nothing of this point can be restored")
        print_table(
            ("point", "damaged", "from byte", "to byte"),
            [
                (damage.ref, part.name, extent.start if extent else "", extent.stop if extent else "all of it")
                for damage in report.damaged
                for part in damage.parts
                for extent in part.extents or (None,)
            ],
        )
        for ref in report.cleared:
            click.echo(f"{ref}: whole again")
    if count := len(report.damaged) + len(report.unreadable):
        raise CorruptError(f"{count} point(s) are damaged; see 'vmkeep repo repair heal'")


@repair.command("heal")
@repository_option
@click.option("--from", "source", metavar="LOCATION", help="A second repository that has copies of the damaged points.")
@second_passphrase_option
@_dry_run
@json_option
def heal(
    repository: str | None, source: str | None, second_passphrase_file: str | None, dry_run: bool, as_json: bool
) -> None:
    """Store damaged and lost blocks again: from the damaged packs, and from a second repository.

    What is damaged has to be known: run 'repo check --read-data' first. Exit code 90 when something stays lost.
    """
    from vmkeep.maintenance.heal import heal as heal_repository

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        second = open_second(source, second_passphrase_file) if source else None
        report = heal_repository(opened, second, dry_run=dry_run, on_progress=bars("heal"))
    if as_json:
        print_json(to_plain(report))
    else:
        done = "would be stored" if dry_run else "stored"
        click.echo(
            f"{report.blocks} block(s) and {report.pages} map page(s), {size(report.bytes_healed)}, {done} again"
        )
        if report.packs_condemned:
            click.echo(f"{len(report.packs_condemned)} damaged pack(s) needed no more: 'repo prune' takes them away")
    if report.lost:
        raise CorruptError(f"{report.lost} block(s) or page(s) could be had from nowhere: see 'repo repair points'")
