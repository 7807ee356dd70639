"""``vmkeep restore disk``: attach disks of a restore point to a VM as new disks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vmkeep.cli.bars import rate
from vmkeep.cli.completions import complete_points, complete_selectors
from vmkeep.cli.options import (
    json_option,
    repository_option,
    site_from,
    transports_option,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.restore_steps import carry_out, new_run, show_plan
from vmkeep.model.job import to_plain
from vmkeep.model.transport import parse_modes
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.attach_values import Attached


@command(
    "disk",
    examples={
        "Attach one disk to a VM, which may run": "vmkeep restore disk latest:app01 scsi0:1 --to rescue01",
        "Attach two disks at chosen addresses": "vmkeep restore disk latest:app01 scsi0:1 'Hard disk 3' --to rescue01 "
        "--at scsi0:1=scsi1:0 --at 'Hard disk 3=scsi1:1'",
    },
)
@click.argument("point", metavar="POINT", shell_complete=complete_points)
@click.argument("disks", metavar="DISK...", nargs=-1, required=True)
@option(
    "--to",
    "vm",
    section=Section.WHERE,
    metavar="VM",
    required=True,
    shell_complete=complete_selectors,
    help="The VM that gets the disks. It may be running, and nothing else of it changes.",
)
@option(
    "--at",
    section=Section.WHERE,
    multiple=True,
    metavar="[DISK=]ADDRESS",
    help="Address of the new disk, e.g. scsi0:3; a controller that the VM does not have is added. By default a free "
    "unit of a fitting controller. With several disks say which: DISK=ADDRESS. Can be repeated.",
)
@option(
    "--datastore",
    section=Section.WHERE,
    metavar="DATASTORE",
    help="Datastore of the new disks, by name, path or id, as 'target datastores' lists them; by default that of the "
    "VM's own files.",
)
@option("--dry-run", section=Section.WHAT, is_flag=True, help="Print the whole plan, and change nothing.")
@repository_option
@vsphere_options
@vddk_option
@transports_option
@json_option
def disk(
    point: str, disks: tuple[str, ...], vm: str, at: tuple[str, ...], datastore: str | None, dry_run: bool,
    transports: str, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Attach disks of a restore point to an existing VM as new disks.

    POINT is a ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. DISK is a disk of
    the point by address (scsi0:1), label or device key. The VM gets all of the disks, whole and read back, or none.
    """
    from vmkeep.flows.attach_values import AttachRequest  # takes time to import
    from vmkeep.flows.complete_attach import preview_attach, run_attach

    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = AttachRequest(
        point=point,
        run=new_run(),
        disks=disks,
        vm_selector=vm,
        at=at,
        datastore=datastore,
        transports=parse_modes(transports),
    )
    if dry_run:
        plan = preview_attach(site, request)
        show_plan(plan.lines, plan.warnings, to_plain(plan), as_json=as_json)
    else:
        carry_out(
            lambda bars, show: run_attach(site, request, bars=bars, announce=warn, show=show),
            _outcome,
            as_json=as_json,
        )


def _outcome(done: Attached, seconds: float) -> Iterator[str]:
    for new in done.disks:
        yield f"{new.disk} is {new.address} of VM {done.vm}: {new.file_name}"
    written = f"{counted(len(done.disks), 'disk')}, {size(done.bytes_written)} written"
    yield f"attached from {done.point}: {written}, {rate(done.bytes_written, seconds)}"
