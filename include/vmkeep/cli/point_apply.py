"""``vmkeep point apply``: another point onto images that were exported before, by writing only the difference."""

from __future__ import annotations

import time
from pathlib import Path

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.model.job import to_plain
from vmkeep.model.overwrite import Verify
from vmkeep.model.wording import size


@command(
    "apply",
    examples={
        "Say how much a later point would change": "vmkeep point apply latest:web01 /srv/exports/web01.export.json "
        "--dry-run",
        "Bring exported images up to the newest point": "vmkeep point apply latest:web01 "
        "/srv/exports/web01.export.json",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("image", metavar="EXPORT.json", type=click.Path(path_type=Path))
@option("--dry-run", section=Section.WHAT, is_flag=True, help="Only say how much would be written.")
@option("--force", section=Section.WHAT, is_flag=True, help="Also apply a point that is marked DAMAGED or SUSPECT.")
@option(
    "--verify", section=Section.HOW, type=click.Choice([str(each) for each in Verify]), default=str(Verify.SAMPLE),
    show_default=True, help="How much of the written blocks is read back and compared with the point; all: the images.",
)  # fmt: skip
@repository_option
@json_option
def apply(
    ref: str, image: Path, dry_run: bool, force: bool, verify: str, repository: str | None, as_json: bool
) -> None:
    """Put another point of the same VM onto images that 'point export' wrote.

    EXPORT.json is the export's manifest, or one of its images. Only the blocks in which the two points differ are read
    and written, so this takes minutes where an export takes hours. Images that somebody has changed, for example by
    booting them, are refused. If this is interrupted, the images are no disks until the next 'point apply' has made
    up for it; the manifest says so.
    """
    from vmkeep.flows import applying  # takes time to import

    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        applied = applying.apply(
            opened, ref, image, dry_run=dry_run, force=force, verify=Verify(verify), on_progress=bars, tell=warn
        )
    seconds = time.monotonic() - started
    if as_json:
        print_json({**to_plain(applied), "dry_run": dry_run, "duration_seconds": round(seconds, 3)})
        return
    if applied.whole:
        warn(f"the map of {applied.before} is gone, so every block is written")
    if applied.beside and not dry_run:
        warn(
            f"{', '.join(applied.beside)}: still as exported; if the machine got other CPUs, memory or cards since "
            "then, export the point anew"
        )
    print_table(
        ("disk", "changed", "read back", "image"),
        [(disk.label, size(disk.bytes_changed), size(disk.bytes_compared), disk.file) for disk in applied.disks],
        none="the point has no disk",
    )
    changed = sum(disk.bytes_changed for disk in applied.disks)
    if dry_run:
        click.echo(f"{applied.manifest}: {applied.point} instead of {applied.before} would write {size(changed)}")
    else:
        click.echo(f"{applied.manifest}: {applied.point} instead of {applied.before}, {size(changed)}, "
                   f"{rate(changed, seconds)}")  # fmt: skip
