"""``vmkeep point``: list and show restore points."""

from __future__ import annotations

import click

from vmkeep.catalog import open_catalog
from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, size
from vmkeep.model.job import to_plain


@click.group()
def point() -> None:
    """List and show restore points."""


@point.command("list")
@repository_option
@click.option("--vm", help="Only this VM, by name or key.")
@json_option
def list_points(repository: str | None, vm: str | None, as_json: bool) -> None:
    """List restore points, oldest first."""
    with open_given(repository) as opened, open_catalog(catalog_url()) as catalog:
        refreshed = catalog.refresh(opened)
        entries = catalog.points(opened.id, vm=vm)
    for damaged in refreshed.damaged:
        click.echo(f"warning: damaged restore point {damaged}", err=True)
    if as_json:
        print_json(entries)
        return
    print_table(
        ("point", "VM", "taken at (UTC)", "kind", "consistency", "disks", "capacity", "read", "stored"),
        [
            (
                entry.ref, entry.vm_name, f"{entry.taken_at:%Y-%m-%d %H:%M:%S}", entry.kind, entry.consistency,
                f"{entry.disks} ({entry.skipped} skipped)" if entry.skipped else entry.disks,
                size(entry.capacity), size(entry.bytes_read), size(entry.bytes_stored),
            )
            for entry in entries
        ],
    )  # fmt: skip


@point.command("show")
@repository_option
@click.argument("ref", metavar="POINT")
@json_option
def show(repository: str | None, ref: str, as_json: bool) -> None:
    """Show one restore point: a ref, the beginning of its id, or latest:VM."""
    with open_given(repository) as opened:
        found = opened.find_point(ref)
    if as_json:
        print_json({"ref": found.ref, **to_plain(found)})
        return
    click.echo(f"{found.ref}\n  VM            {found.vm.name} ({found.vm.inventory_path or found.vm.key})")
    click.echo(f"  taken at      {found.taken_at:%Y-%m-%d %H:%M:%S} UTC, run {found.run}")
    click.echo(f"  kind          {found.kind}; mode {found.mode_used}, asked {found.mode_asked}")
    click.echo(f"  consistency   {found.consistency}; quiesce asked {found.quiesce_asked}")
    rows = []
    images = {image.disk.key: image for image in found.images}
    for disk in found.disks:
        image = images.get(disk.key)
        what = f"{image.kind}: {image.reason}" if image else f"SKIPPED: {disk.skip.why if disk.skip else ''}"
        rows.append(
            (disk.key, disk.label, disk.address, size(disk.capacity), disk.backing, disk.compatibility_mode, what)
        )
    print_table(("key", "label", "address", "capacity", "backing", "RDM mode", "copied"), rows)
    for name in sorted(found.attachments):
        click.echo(f"  attached      {name}, {size(found.attachment_sizes[name])}")
    for warning in found.warnings:
        click.echo(f"  warning       {warning}")
