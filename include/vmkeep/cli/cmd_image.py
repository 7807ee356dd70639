"""``vmkeep image``: a raw disk image as a restore point, and back."""

from __future__ import annotations

import time
from pathlib import Path

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.extent_files import load_extents
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, progress_bars, rate
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.errors import UsageError
from vmkeep.flows import disk_images
from vmkeep.model.wording import counted, size


@click.group(cls=Verbs)
def image() -> None:
    """Import raw disk images as a restore point, and export them again."""


@image.command(
    "import",
    examples={
        "Store two disks of one machine": "vmkeep image import root.raw data.raw --name web01",
        "Store only what changed since a point": "vmkeep image import root.raw --name web01 --since latest:web01 "
        "--extents changed.json",
    },
)
@click.argument("disks", metavar="DISK.raw…", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("--name", section=Section.WHAT, required=True, help="Name of the machine the disks belong to.")
@option(
    "--since", section=Section.WHAT, metavar="POINT", shell_complete=complete_points,
    help="The restore point that --extents are relative to.",
)  # fmt: skip
@option(
    "--extents", "extent_files", section=Section.WHAT, multiple=True, type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="The changes since the point of --since, as [[start, length], …] in bytes; one file for each disk, in order.",
)  # fmt: skip
@option(
    "--raw", section=Section.WHAT, is_flag=True,
    help="Take the files as raw disks, even if they begin like a VMDK, a qcow2 or another format.",
)  # fmt: skip
@repository_option
@json_option
def import_(
    disks: tuple[Path, ...],
    name: str,
    extent_files: tuple[Path, ...],
    since: str | None,
    raw: bool,
    repository: str | None,
    as_json: bool,
) -> None:
    """Store raw disk images (files or block devices) as one restore point."""
    if extent_files and len(extent_files) != len(disks):
        raise UsageError(
            f"{counted(len(disks), 'disk')} but {counted(len(extent_files), '--extents file')}: "
            "give one for each disk, in order"
        )
    extents = [load_extents(path) for path in extent_files] or None
    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        point = disk_images.import_images(
            opened, disks, name=name, extents=extents, since=since, raw=raw, on_progress=bars(name)
        )
    seconds = time.monotonic() - started
    read = sum(stored.bytes_read for stored in point.images)
    stored_bytes = sum(stored.bytes_stored for stored in point.images)
    if as_json:
        print_json({"point": point.ref, "kind": point.kind, "bytes_read": read, "bytes_stored": stored_bytes,
                    "duration_seconds": round(seconds, 3)})  # fmt: skip
    else:
        click.echo(f"{point.ref}: {point.kind}, read {size(read)}, stored {size(stored_bytes)}, {rate(read, seconds)}")


@image.command(
    "export",
    examples={"Write the first disk of the newest point of web01": "vmkeep image export latest:web01 web01.raw"},
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@click.argument("out", metavar="OUT.raw", type=click.Path(path_type=Path))
@option(
    "--disk",
    section=Section.WHAT,
    type=int,
    default=0,
    show_default=True,
    help="The disk of the point, counted from 0.",
)
@option("--force", section=Section.WHAT, is_flag=True, help="Replace OUT.raw if it exists.")
@repository_option
@json_option
def export(ref: str, disk: int, out: Path, force: bool, repository: str | None, as_json: bool) -> None:
    """Write one disk of a restore point to a sparse raw file, and check every block before it is written."""
    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        exported = disk_images.export(opened, ref, disk, out, overwrite=force, on_progress=bars(out.name))
    seconds = time.monotonic() - started
    if as_json:
        print_json({"point": exported.point, "disk": disk, "file": str(out), "bytes_written": exported.bytes_written,
                    "duration_seconds": round(seconds, 3)})  # fmt: skip
    else:
        click.echo(f"{out}: {size(exported.bytes_written)} of data written, {rate(exported.bytes_written, seconds)}")
