"""``vmkeep image``: disk images of other programs as a restore point, and a disk of a point as a raw image."""

from __future__ import annotations

import time
from pathlib import Path

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_points
from vmkeep.cli.extent_files import load_extents
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.errors import UsageError
from vmkeep.flows import disk_images
from vmkeep.flows.disk_images import Imported, ImportFormat, ImportRequest
from vmkeep.model.portable import Firmware
from vmkeep.model.wording import counted, size

_MOST_MEMORY = 24 << 20
"""Mebibytes that a VM of vSphere can have."""


@click.group(cls=Verbs)
def image() -> None:
    """Import disk images as a restore point, and export a disk as a raw image."""


@image.command(
    "import",
    examples={
        "Store two disks of one machine": "vmkeep image import root.raw data.qcow2 --name web01",
        "Store a machine that another program exported": "vmkeep image import web01.ova --name web01",
        "Store a disk of KVM, so that a VM can be made from it": "vmkeep image import root.qcow2 --name web01 "
        "--guest-id debian12_64Guest --cpus 2 --memory 4096 --firmware efi",
        "Store only what changed since a point": "vmkeep image import root.raw --name web01 --since latest:web01 "
        "--extents changed.json",
    },
)
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path))
@option("--name", section=Section.WHAT, required=True, help="Name of the machine the disks belong to.")
@option(
    "--format", "form", section=Section.WHAT, type=click.Choice([each.value for each in ImportFormat]),
    help="The format of all files; else each is known by its first bytes. With raw a file is taken byte by byte.",
)  # fmt: skip
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
    "--guest-id", section=Section.NEW_VM, metavar="ID",
    help="The guest system by vSphere's id, e.g. debian12_64Guest. With this or an option below, a restore can make a "
    "VM from disks whose machine is not described. What neither an option nor a description tells is otherGuest64, 1 "
    "processor, 2048 MiB and bios.",
)  # fmt: skip
@option("--cpus", section=Section.NEW_VM, type=click.IntRange(1, 768), help="Number of processors.")
@option(
    "--memory", section=Section.NEW_VM, type=click.IntRange(4, _MOST_MEMORY), metavar="MIB",
    help="Memory in MiB, 24 TiB at most.",
)  # fmt: skip
@option(
    "--firmware", section=Section.NEW_VM, type=click.Choice([each.value for each in Firmware]),
    help="The firmware that the disks were installed with.",
)  # fmt: skip
@repository_option
@json_option
def import_(
    files: tuple[Path, ...],
    name: str,
    form: str | None,
    extent_files: tuple[Path, ...],
    since: str | None,
    guest_id: str | None,
    cpus: int | None,
    memory: int | None,
    firmware: str | None,
    repository: str | None,
    as_json: bool,
) -> None:
    """Store disks, or a machine with its disks, as one restore point.

    FILE is a disk (raw, qcow2, VMDK, or a block device), or one machine: an OVA, an OVF or a .vmx with its disks beside
    it.
    """
    if extent_files and len(extent_files) != len(files):
        raise UsageError(
            f"{counted(len(files), 'disk')} but {counted(len(extent_files), '--extents file')}: "
            "give one for each disk, in order"
        )
    request = ImportRequest(
        paths=files,
        name=name,
        format=ImportFormat(form) if form else None,
        extents=[load_extents(path) for path in extent_files] or None,
        since=since,
        guest_id=guest_id,
        cpus=cpus,
        memory_mib=memory,
        firmware=Firmware(firmware) if firmware else None,
    )
    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        imported = disk_images.import_images(opened, request, on_progress=bars(name))
    _report(imported, time.monotonic() - started, as_json=as_json)


def _report(imported: Imported, seconds: float, *, as_json: bool) -> None:
    point = imported.point
    read = sum(stored.bytes_read for stored in point.images)
    stored_bytes = sum(stored.bytes_stored for stored in point.images)
    if as_json:
        print_json({"point": point.ref, "kind": point.kind, "bytes_read": read, "bytes_stored": stored_bytes,
                    "duration_seconds": round(seconds, 3), "formats": list(imported.formats),
                    "notes": list(imported.notes)})  # fmt: skip
        return
    for note in imported.notes:
        click.echo(f"note: {note}")
    click.echo(f"taken for: {', '.join(imported.formats)}")
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
        exported = disk_images.export(opened, ref, disk, out, overwrite=force, on_progress=bars(out.name), tell=warn)
    seconds = time.monotonic() - started
    if as_json:
        print_json({"point": exported.point, "disk": disk, "file": str(out), "bytes_written": exported.bytes_written,
                    "warnings": list(exported.warnings), "duration_seconds": round(seconds, 3)})  # fmt: skip
    else:
        click.echo(f"{out}: {size(exported.bytes_written)} of data written, {rate(exported.bytes_written, seconds)}")
