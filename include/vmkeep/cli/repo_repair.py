"""``vmkeep repo repair``: narrow verbs that mend damage which a check found, and never delete anything."""

from __future__ import annotations

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.options import json_option, open_given, repository_option, second_passphrase_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.repo_copy import open_second
from vmkeep.errors import CorruptError
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size

_dry_run = option("--dry-run", is_flag=True, help="Show the repairs, and change nothing.")


@click.group("repair", cls=Verbs)
def repair() -> None:
    """Mend the damage that 'repo check' found, in this order: index, heal, points. Nothing is ever deleted."""


@repair.command("index", examples={"Show which packs would be listed again": "vmkeep repo repair index --dry-run"})
@repository_option
@_dry_run
@json_option
def index(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """List again in the index the blocks that only damaged or lost segments listed."""
    from vmkeep.flows.upkeep import repair_index

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        report = repair_index(opened, dry_run=dry_run, on_progress=bars("index"))
    if as_json:
        print_json(to_plain(report))
        return
    for key, why in report.segments_damaged.items():
        click.echo(f"{key}: {why}; this segment is not used any more")
    for pack in report.packs_unreadable:
        click.echo(f"pack {pack}: no frame of it can be read")
    done = "would be listed" if dry_run else "listed"
    click.echo(
        f"{counted(len(report.packs_listed), 'pack')} {done} again, with {counted(report.entries, 'entry', 'entries')}"
    )


@repair.command("points", examples={"Mark damaged points, and list the lost bytes": "vmkeep repo repair points"})
@repository_option
@_dry_run
@json_option
def points(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """Mark damaged points and list their lost bytes; unmark points that are whole again.

    The rest of a damaged point can be restored, but no increment continues it. The exit code is 90 when a point is
    damaged.
    """
    from vmkeep.flows.upkeep import repair_points

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
            none="no restore point has lost data",
        )
        for ref in report.cleared:
            click.echo(f"{ref}: whole again")
    if count := len(report.damaged) + len(report.unreadable):
        raise CorruptError(f"damage in {counted(count, 'point')}: see 'vmkeep repo repair heal'")


@repair.command(
    "heal",
    examples={"Take lost blocks from a second repository": "vmkeep repo repair heal --from s3://elsewhere/vmkeep"},
)
@option(
    "--from",
    "source",
    section=Section.WHERE,
    metavar="LOCATION",
    help="A second repository that has copies of the damaged points.",
)
@second_passphrase_option
@repository_option
@_dry_run
@json_option
def heal(
    repository: str | None, source: str | None, second_passphrase_file: str | None, dry_run: bool, as_json: bool
) -> None:
    """Store damaged and lost blocks again, from the damaged packs and from a second repository.

    Run 'repo check --read-data' first, because only known damage is healed. The exit code is 90 when a block stays
    lost.
    """
    from vmkeep.flows.upkeep import heal as heal_repository

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        second = open_second(source, second_passphrase_file) if source else None
        report = heal_repository(opened, second, dry_run=dry_run, on_progress=bars("heal"))
    if as_json:
        print_json(to_plain(report))
    else:
        done = "would be stored" if dry_run else "stored"
        click.echo(
            f"{counted(report.blocks, 'block')} and {counted(report.pages, 'map page')}, {size(report.bytes_healed)}, "
            f"{done} again"
        )
        if report.packs_condemned:
            packs = counted(len(report.packs_condemned), "damaged pack")
            click.echo(f"'repo prune' deletes {packs} that nothing needs any more")
    if report.lost:
        raise CorruptError(
            f"{counted(report.lost, 'block or page', 'blocks or pages')} found nowhere: see 'vmkeep repo repair points'"
        )
