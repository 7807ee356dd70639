"""``vmkeep point export``: a point's disks as images of any format, in a folder or on S3."""

from __future__ import annotations

import time

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.errors import UsageError
from vmkeep.model.exports import ExportedPoint, ExportRequest, ImageFormat
from vmkeep.model.job import to_plain
from vmkeep.model.overwrite import Verify
from vmkeep.model.portable import Drivers, Hypervisor
from vmkeep.model.wording import counted, size


@command(
    "export",
    examples={
        "Write all disks of the newest point of web01 for QEMU": "vmkeep point export latest:web01 --format qcow2 "
        "--out /srv/exports",
        "Write one disk as a raw image, and read all of it back": "vmkeep point export latest:web01 --format raw "
        "--out /srv/exports --disk 0 --verify all",
        "Take a machine to Proxmox VE, with its network on another bridge": "vmkeep point export latest:web01 "
        "--to proxmox --network 'VM Network=vmbr1' --out /mnt/pve/transfer",
        "Take a machine to KVM, and let virt-v2v give it the drivers for it": "vmkeep point export latest:web01 "
        "--to libvirt --convert --out /srv/exports",
    },
)
@click.argument("ref", metavar="POINT", shell_complete=complete_points)
@option(
    "--format", "form", section=Section.WHAT, type=click.Choice([str(each) for each in ImageFormat]),
    help="Format of the images: raw; qcow2, for QEMU, which --to takes if nothing is said; or a kind of VMDK: flat, "
    "thin, 2gbsparse, stream (compressed); or, with the machine, ovf or ova.",
)  # fmt: skip
@option(
    "--to", section=Section.WHAT, type=click.Choice([str(each) for each in Hypervisor]),
    help="Describe the machine for this hypervisor, and list what does not come along.",
)  # fmt: skip
@option(
    "--drivers", section=Section.WHAT, type=click.Choice([str(each) for each in Drivers]),
    help="Devices of the new machine: virtio, or safe (SATA and Intel cards). [default: virtio for guests that surely "
    "have its drivers]",
)  # fmt: skip
@option(
    "--convert", section=Section.WHAT, is_flag=True,
    help="With --to libvirt: let virt-v2v make the guest ready for virtio devices, on overlays over the images.",
)  # fmt: skip
@option(
    "--network", "networks", section=Section.WHERE, multiple=True, metavar="'OLD=NEW'",
    help="With --to: the network or the bridge (libvirt: bridge:NAME) for cards that were on OLD; may be repeated.",
)  # fmt: skip
@option(
    "--out", section=Section.WHERE, required=True, metavar="PLACE",
    help="Folder on this machine, which has to exist, or s3://bucket/prefix with the credentials of the environment.",
)  # fmt: skip
@option(
    "--disk", "disks", section=Section.WHAT, multiple=True, metavar="DISK",
    help="Only this disk of the point: its number from 0, address (scsi0:1) or label; may be given several times.",
)  # fmt: skip
@option("--name", section=Section.WHAT, help="Name with which the files begin, instead of the VM's.")
@option("--force", section=Section.WHAT, is_flag=True, help="Replace an export of the same name.")
@option(
    "--verify", section=Section.HOW, type=click.Choice([str(each) for each in Verify]), default=str(Verify.SAMPLE),
    show_default=True, help="How much of the images is read back and compared with the point.",
)  # fmt: skip
@repository_option
@json_option
def export(
    ref: str,
    form: str | None,
    to: str | None,
    drivers: str | None,
    convert: bool,
    networks: tuple[str, ...],
    out: str,
    disks: tuple[str, ...],
    name: str | None,
    force: bool,
    verify: str,
    repository: str | None,
    as_json: bool,
) -> None:
    """Write images of a restore point's disks, and a manifest of them.

    POINT is its ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. Every block is
    checked before it is written, and the images are read back. They get their names when all of them are complete; the
    manifest NAME.export.json is the last, so that without it there is no export.

    With --to, the machine goes along: NAME.libvirt.xml for 'virsh define', NAME.proxmox.sh, or NAME.openstack.sh.
    NAME.notes.txt lists the parts that do not come along and the steps by hand, and NAME.machine.json has both as data.
    An OVF or an OVA has such notes, too.

    With --convert, virt-v2v (Debian's package virt-v2v) installs drivers in the guest. It writes to overlays,
    NAME-diskN.converted.qcow2, and the images below stay as they were in the backup. If it fails, the export is
    complete without the conversion, and the exit code is 39.
    """
    from vmkeep.flows import exports  # takes time to import

    if form is None and to is None:
        raise UsageError("say the --format of the images, or the hypervisor that they are for (--to)")
    if to is None and (drivers is not None or networks):
        raise UsageError("--drivers and --network describe a machine for another hypervisor: say which one (--to)")
    request = ExportRequest(
        point=ref,
        format=ImageFormat(form or ImageFormat.QCOW2),
        out=out,
        disks=disks,
        name=name,
        overwrite=force,
        verify=Verify(verify),
        to=None if to is None else Hypervisor(to),
        drivers=None if drivers is None else Drivers(drivers),
        convert=convert,
        networks=networks,
    )
    started = time.monotonic()
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        exported = exports.export(opened, request, on_progress=bars, tell=warn)
    seconds = time.monotonic() - started
    if as_json:
        print_json({**to_plain(exported), "duration_seconds": round(seconds, 3)})
    else:
        _show(exported, seconds)


def _show(exported: ExportedPoint, seconds: float) -> None:
    if exported.format is ImageFormat.OVA:
        together = size(sum(disk.bytes_compared for disk in exported.disks))
        click.echo(f"{exported.disks[0].files[0].name}: {together} read back, of all disks together")
    print_table(
        ("disk", "capacity", "data", "read back", "file"),
        [
            (
                disk.label,
                size(disk.capacity),
                size(disk.bytes_written),
                "" if exported.format is ImageFormat.OVA else size(disk.bytes_compared),
                disk.files[0].name,
            )
            for disk in exported.disks
        ],
        none="no disk is exported",
    )
    for file in (*exported.converted, *exported.beside):
        click.echo(f"{exported.place}/{file.name}")
    if exported.describes:
        click.echo(f"{counted(len(exported.left_out), 'part')} of the machine left behind: read {exported.notes}")
    for name in exported.removed:
        click.echo(f"{exported.place}/{name}: removed with the export that was replaced")
    written = sum(disk.bytes_written for disk in exported.disks)
    click.echo(f"{exported.place}/{exported.manifest}: {exported.point}, {size(written)} of data, "
               f"{rate(written, seconds)}")  # fmt: skip
