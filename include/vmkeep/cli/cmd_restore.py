"""``vmkeep restore``: restore a VM without Airflow."""

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
from vmkeep.flows.values import OnConflict, PhysicalRdm, RestoreRequest
from vmkeep.flows.whole import run_restore
from vmkeep.model.job import to_plain


@click.group(cls=Verbs)
def restore() -> None:
    """Restore VMs."""


@restore.command("run")
@click.argument("point", metavar="POINT")
@click.option("--vm", metavar="VM", help="Write over this existing VM; by default the original one, and no other.")
@click.option("--new-name", metavar="NAME", help="Create a new VM of this name instead.")
@click.option(
    "--on-conflict",
    type=click.Choice(["abort", "overwrite", "keep"]),
    default="abort",
    show_default=True,
    help="When the VM to restore to exists: 'abort' ends with exit code 12, 'overwrite' writes over its disks, "
    "'keep' leaves it as it is and ends well. With --new-name no VM is ever written over.",
)
@click.option(
    "--physical-rdm",
    type=click.Choice(["placeholder", "lun", "omit"]),
    default="placeholder",
    show_default=True,
    help="What a physical-mode RDM, which is in no backup, becomes in a new VM: an empty disk of at most 16 MiB at its "
    "place, a mapping of the LUN that --lun names, or nothing.",
)
@click.option(
    "--lun",
    "luns",
    multiple=True,
    metavar="DISK=LUN",
    help="Map this physical RDM of a new VM to a free LUN, by canonical name or UUID, whatever --physical-rdm says of "
    "the others. Nothing is written to it.",
)
@click.option("--datastore", metavar="NAME", help="Datastore of a new VM; the original's if not said.")
@click.option(
    "--disk-datastore",
    "disk_datastores",
    multiple=True,
    metavar="DISK=DATASTORE",
    help="Datastore of one disk of a new VM; the disk by address (scsi0:1), label or device key.",
)
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="OLD=NEW",
    help="Network of a new VM's cards: OLD is the saved network's name or a card's label (Network adapter 1), "
    "NEW a network's name or id, or 'none' for a card that starts disconnected.",
)
@click.option(
    "--connect-networks",
    is_flag=True,
    help="Connect a new VM's network cards as saved, also where the original is running. By default they then "
    "start disconnected.",
)
@click.option("--folder", metavar="PATH", help="VM folder of a new VM; the original's if not said.")
@click.option("--resource-pool", metavar="NAME", help="Resource pool of a new VM; the original's if not said.")
@click.option(
    "--host",
    metavar="NAME",
    help="ESXi host of a new VM; if not said, vSphere chooses it where DRS is used, "
    "and else it is one that has all the VM needs, the original's before others.",
)
@click.option(
    "--power-on/--no-power-on",
    default=None,
    help="Whether the VM is started at the end; by default if it ran when it was backed up.",
)
@click.option("--keep-identity", is_flag=True, help="A new VM keeps the UUIDs and MAC addresses of the original.")
@transport_option
@repository_option
@vsphere_options
@vddk_option
@json_option
def run(
    point: str, vm: str | None, new_name: str | None, on_conflict: str, physical_rdm: str, luns: tuple[str, ...],
    datastore: str | None, disk_datastores: tuple[str, ...], networks: tuple[str, ...], connect_networks: bool,
    folder: str | None, resource_pool: str | None, host: str | None, power_on: bool | None, keep_identity: bool,
    transport: str, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Restore a point: a ref, the beginning of its id, or latest:VM."""
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = RestoreRequest(
        point=point,
        run=f"cli-{uuid.uuid4().hex[:12]}",
        vm=vm,
        new_name=new_name,
        on_conflict=OnConflict(on_conflict),
        physical_rdm=PhysicalRdm(physical_rdm),
        datastore=datastore,
        disk_datastores=disk_datastores,
        luns=luns,
        networks=networks,
        connect_networks=connect_networks,
        folder=folder,
        resource_pool=resource_pool,
        host=host,
        power_on=power_on,
        new_identity=not keep_identity,
        transports=tuple(transport.split(":")),
    )
    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        done = run_restore(
            site,
            request,
            bars=bars,
            announce=lambda line: click.echo(f"warning: {one_line(line)}", err=True),
            show=lambda line: None if as_json else click.echo(one_line(line), err=True),
        )
    seconds = time.monotonic() - started
    if as_json:
        print_json({**to_plain(done), "duration_seconds": round(seconds, 3)})
        return
    if done.kept:
        click.echo(f"nothing was restored: VM {one_line(done.vm_name)} ({done.vm}) exists and was kept")
        return
    click.echo(
        f"VM {one_line(done.vm_name)} ({done.vm}) {'created' if done.created else 'restored'} from {done.point}: "
        f"{done.disks_written} disks, {size(done.bytes_written)} written, {rate(done.bytes_written, seconds)}"
        f"{', powered on' if done.powered_on else ''}"
    )
