"""``vmkeep restore``: restore a VM without Airflow."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import click

from vmkeep.cli.completions import complete_points, complete_selectors
from vmkeep.cli.options import (
    json_option,
    repository_option,
    site_from,
    transports_option,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, progress_bars, rate, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.restore_disk import disk
from vmkeep.cli.restore_undo import accept as accept_command
from vmkeep.cli.restore_undo import undo as undo_command
from vmkeep.flows.complete_runs import run_restore
from vmkeep.flows.restore import plan_restore
from vmkeep.flows.restore_mapping import read_mapping_file
from vmkeep.flows.restore_wording import plan_lines
from vmkeep.flows.values import OnConflict, PhysicalRdm, RestoreRequest
from vmkeep.mapping import schema_text
from vmkeep.model.job import to_plain
from vmkeep.model.overwrite import Undo, Verify
from vmkeep.model.site import Site
from vmkeep.model.transport import parse_modes
from vmkeep.model.wording import counted, size


@click.group(cls=Verbs)
def restore() -> None:
    """Restore VMs, and single disks of them."""


restore.add_command(disk)


restore.add_command(undo_command)
restore.add_command(accept_command)


@restore.command(
    "run",
    examples={
        "Write the newest point over the VM it was taken of": "vmkeep restore run latest:app01 --on-conflict overwrite",
        "Write one disk back, and leave the others as they are": "vmkeep restore run latest:app01 --disks scsi0:1 "
        "--on-conflict overwrite",
        "Restore to a new VM": "vmkeep restore run latest:app01 --new-name app01-copy",
        "Restore to a new VM elsewhere": "vmkeep restore run latest:app01 --new-name app01-dr --host esx2.example.com "
        "--datastore ds2 --network 'VM Network=none'",
        "Restore as an edited mapping says": "vmkeep restore run latest:app01 --mapping app01.yaml",
        "Show what a restore would do, and change nothing": "vmkeep restore run latest:app01 --on-conflict overwrite "
        "--dry-run",
    },
)
@click.argument("point", metavar="POINT", shell_complete=complete_points)
@option(
    "--on-conflict",
    section=Section.WHAT,
    type=click.Choice(["abort", "overwrite", "keep"]),
    default="abort",
    show_default=True,
    help="If the VM to restore to exists: 'abort' ends with exit code 12, 'overwrite' writes over its disks, 'keep' "
    "leaves it as it is and ends well. With --new-name, no VM is ever written over.",
)
@option(
    "--power-on/--no-power-on",
    section=Section.WHAT,
    default=None,
    help="Start the VM at the end, or leave it off; by default it starts if it ran when it was backed up.",
)
@option(
    "--all-blocks",
    section=Section.WHAT,
    is_flag=True,
    help="Write every block over an existing VM. By default only blocks that changed since the point are written, "
    "where vSphere can tell them and a sample of the others shows no doubt.",
)
@option(
    "--verify",
    section=Section.WHAT,
    type=click.Choice([choice.value for choice in Verify]),
    default=Verify.SAMPLE.value,
    show_default=True,
    help="Part of each written disk to read back and compare: all of it, a sample, or none. If anything differs, the "
    "restore fails and the VM stays off.",
)
@option(
    "--undo",
    section=Section.WHAT,
    type=click.Choice([choice.value for choice in Undo]),
    default=Undo.NONE.value,
    show_default=True,
    help="Keep a snapshot of an existing VM as it was, until 'restore undo' goes back to it or 'restore accept' "
    "removes it.",
)
@option("--dry-run", section=Section.WHAT, is_flag=True, help="Print the whole plan, and change nothing.")
@option(
    "--vm",
    section=Section.WHERE,
    metavar="VM",
    shell_complete=complete_selectors,
    help="Write over this existing VM; by default the original one, and no other.",
)
@option(
    "--disks",
    section=Section.WHAT,
    multiple=True,
    metavar="DISKS",
    help="Write only these disks of the point over the existing VM's, and leave the others as they are: by address, "
    "label or device key, several with commas between. Can be repeated.",
)
@option(
    "--disk-map",
    section=Section.WHERE,
    multiple=True,
    metavar="SAVED=TARGET",
    help="Write this disk of the point over that disk of the existing VM, both by address, label or device key. Both "
    "have to be of one size. Other disks are matched by place and UUID. Can be repeated.",
)
@option(
    "--new-name",
    section=Section.WHERE,
    metavar="NAME",
    help="Create a new VM of this name instead.",
)
@option(
    "--keep-identity",
    section=Section.NEW_VM,
    is_flag=True,
    help="Keep the UUIDs and MAC addresses of the original; by default a new VM gets its own.",
)
@option(
    "--mapping",
    section=Section.NEW_VM,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Make a new VM as this file says, which 'point show --mapping' has written. Options beside it have to agree "
    "with it.",
)
@option(
    "--folder",
    section=Section.NEW_VM,
    metavar="PATH",
    help="VM folder; by default the original's. 'target folders', 'target pools' and so on list what there is.",
)
@option("--resource-pool", section=Section.NEW_VM, metavar="NAME", help="Resource pool; by default the original's.")
@option(
    "--host",
    section=Section.NEW_VM,
    metavar="NAME",
    help="ESXi host; by default vSphere chooses one where DRS is used, and else it is one that has all the VM needs, "
    "the original's before others.",
)
@option("--datastore", section=Section.NEW_VM, metavar="NAME", help="Datastore; by default the original's.")
@option(
    "--disk-datastore",
    "disk_datastores",
    section=Section.NEW_VM,
    multiple=True,
    metavar="DISK=DATASTORE",
    help="Datastore of one disk; the disk by address (scsi0:1), label or device key. Can be repeated.",
)
@option(
    "--log-directory",
    section=Section.NEW_VM,
    metavar="'[DATASTORE] FOLDER'",
    help="Existing folder for the VM's logs; by default beside the VM's own files.",
)
@option(
    "--suspend-directory",
    section=Section.NEW_VM,
    metavar="'[DATASTORE] FOLDER'",
    help="Existing folder for the VM's memory while it is suspended; by default beside the VM's own files.",
)
@option(
    "--network",
    "networks",
    section=Section.NEW_VM,
    multiple=True,
    metavar="OLD=NEW",
    help="Network of the VM's network cards: OLD is the saved network's name or a card's label (Network adapter 1), "
    "NEW a network's name or id, or 'none' for a card that starts disconnected. Can be repeated.",
)
@option(
    "--connect-networks",
    section=Section.NEW_VM,
    is_flag=True,
    help="Connect the network cards as saved, even if the original is running. By default they then start "
    "disconnected.",
)
@option(
    "--physical-rdm",
    section=Section.NEW_VM,
    type=click.Choice([choice.value for choice in PhysicalRdm]),
    default=PhysicalRdm.PLACEHOLDER.value,
    show_default=True,
    help="Replacement of a physical-mode RDM: an empty disk of at most 16 MiB, a mapping of the LUN that --lun names, "
    "an ordinary disk of the same size with the content that --read-lun backed up, or nothing.",
)
@option(
    "--rdm",
    "rdms",
    section=Section.NEW_VM,
    multiple=True,
    metavar="DISK=REPLACEMENT",
    help="Replacement of this one physical RDM, whatever --physical-rdm says of the others. Can be repeated.",
)
@option(
    "--lun",
    "luns",
    section=Section.NEW_VM,
    multiple=True,
    metavar="DISK=LUN",
    help="Map this physical RDM to a free LUN, by canonical name or UUID, whatever --physical-rdm says of the others. "
    "Nothing is written to the LUN. Can be repeated.",
)
@repository_option
@vsphere_options
@vddk_option
@transports_option
@json_option
def run(
    point: str, vm: str | None, new_name: str | None, on_conflict: str, disks: tuple[str, ...],
    disk_map: tuple[str, ...], physical_rdm: str, rdms: tuple[str, ...],
    luns: tuple[str, ...], mapping: Path | None, log_directory: str | None, suspend_directory: str | None,
    datastore: str | None, disk_datastores: tuple[str, ...], networks: tuple[str, ...], connect_networks: bool,
    folder: str | None, resource_pool: str | None, host: str | None, power_on: bool | None, keep_identity: bool,
    transports: str, all_blocks: bool, verify: str, undo: str, dry_run: bool,
    repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Restore a VM from a restore point.

    POINT is a ref as 'point list' prints it, the beginning of its id, or latest:VM.
    """
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    request = RestoreRequest(
        point=point,
        run=f"cli-{uuid.uuid4().hex[:12]}",
        vm_selector=vm,
        new_name=new_name,
        on_conflict=OnConflict(on_conflict),
        disks=disks,
        disk_map=disk_map,
        physical_rdm=PhysicalRdm(physical_rdm),
        datastore=datastore,
        disk_datastores=disk_datastores,
        rdms=rdms,
        luns=luns,
        mapping=read_mapping_file(mapping) if mapping is not None else "",
        log_directory=log_directory,
        suspend_directory=suspend_directory,
        networks=networks,
        connect_networks=connect_networks,
        folder=folder,
        resource_pool=resource_pool,
        host=host,
        power_on=power_on,
        keep_identity=keep_identity,
        transports=parse_modes(transports),
        all_blocks=all_blocks,
        verify=Verify(verify),
        undo=Undo(undo),
        dry_run=dry_run,
    )
    if dry_run:
        _print_plan(site, request, as_json=as_json)
        return
    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        done = run_restore(
            site,
            request,
            bars=bars,
            announce=warn,
            show=lambda line: None if as_json else click.echo(one_line(line), err=True),
        )
    seconds = time.monotonic() - started
    if as_json:
        print_json({**to_plain(done), "duration_seconds": round(seconds, 3)})
        return
    if done.kept:
        click.echo(f"nothing was restored: VM {one_line(str(done.vm))} exists and was kept")
        return
    written = f"{counted(done.disks_written, 'disk')}, {size(done.bytes_written)} written"
    click.echo(
        f"VM {one_line(str(done.vm))} {'created' if done.created else 'restored'} from {done.point}: "
        f"{written}, {rate(done.bytes_written, seconds)}{', powered on' if done.powered_on else ''}"
    )
    for one in done.disks:
        if one.why_blocks:
            click.echo(one_line(f"{one.label} ({one.address}): {one.blocks} blocks, because {one.why_blocks}"))
    if done.undo is not None:
        click.echo(f"snapshot {done.undo} is kept: 'vmkeep restore undo' goes back to it, 'restore accept' removes it")


def _print_plan(site: Site, request: RestoreRequest, *, as_json: bool) -> None:
    """Make the plan and print it. Nothing is changed."""
    plan = plan_restore(site, request)
    if as_json:
        print_json(
            {"dry_run": True, "lines": list(plan_lines(plan)), "warnings": list(plan.warnings), "plan": to_plain(plan)}
        )
        return
    for line in plan_lines(plan):
        click.echo(one_line(line))
    for warning in plan.warnings:
        warn(warning)
    click.echo("nothing was changed")


@restore.command(
    "schema", examples={"Keep the schema for an editor": "vmkeep restore schema > vmkeep-mapping.schema.json"}
)
def schema() -> None:
    """Print the JSON schema of a mapping: every field and its meaning.

    Editors that know JSON schemas check and complete mappings with it.
    """
    click.echo(schema_text(), nl=False)
