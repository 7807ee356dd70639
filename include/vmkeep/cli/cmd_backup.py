"""``vmkeep backup``: back up a VM without Airflow."""

from __future__ import annotations

import time
import uuid

import click

from vmkeep.cli.groups import Verbs
from vmkeep.cli.options import (
    json_option,
    repository_option,
    site_from,
    transport_option,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, progress_bars, rate, size
from vmkeep.flows.values import BackupRequest
from vmkeep.flows.whole import run_backup
from vmkeep.model.job import to_plain
from vmkeep.model.point import BackupMode, Quiesce


@click.group(cls=Verbs)
def backup() -> None:
    """Back up VMs."""


@backup.command("run")
@click.argument("vm", metavar="VM")
@click.option("--full", is_flag=True, help="Read every disk in full, whatever change tracking says.")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in BackupMode]),
    default=BackupMode.SNAPSHOT_EXCL_MEM.value,
    show_default=True,
    help="How the VM is held still: by a snapshot, with its memory or without (EXCL); ASIS takes none and needs a VM "
    "that is off; SUSPEND is not there yet.",
)
@click.option(
    "--quiesce",
    type=click.Choice([quiesce.value for quiesce in Quiesce]),
    default=Quiesce.FILE_SYSTEM.value,
    show_default=True,
    help="What VMware Tools are asked to flush in the guest before the snapshot. With 'application' vSphere does not "
    "tell whether applications took part: the point says file-system, and warns.",
)
@click.option("--exclude", multiple=True, metavar="DISK", help="Leave a disk out, by address (scsi0:1), label or key.")
@transport_option
@repository_option
@vsphere_options
@vddk_option
@json_option
def run(
    vm: str, full: bool, mode: str, quiesce: str, exclude: tuple[str, ...], transport: str, repository: str | None,
    vddk: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Back up one VM: name:, uuid:, moref: or ipaddr:, or just its name."""
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = BackupRequest(
        vm=vm,
        run=f"cli-{uuid.uuid4().hex[:12]}",
        mode=BackupMode(mode),
        quiesce=Quiesce(quiesce),
        transports=tuple(transport.split(":")),
        exclude=exclude,
        full=full,
    )
    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        sealed, verified = run_backup(
            site, request, bars=bars, announce=lambda line: click.echo(f"warning: {one_line(line)}", err=True)
        )
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {**to_plain(sealed), "verified_bytes": verified.bytes_checked, "duration_seconds": round(seconds, 3)}
        )
        return
    disks = f"{sealed.disks_copied} disks, {sealed.disks_skipped} skipped"
    moved = f"read {size(sealed.bytes_read)}, stored {size(sealed.bytes_stored)}, {rate(sealed.bytes_read, seconds)}"
    click.echo(f"{sealed.point}: {sealed.kind}, {sealed.consistency}, {disks}, {moved}")
