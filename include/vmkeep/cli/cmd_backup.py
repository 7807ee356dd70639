"""``vmkeep backup``: back up a VM without Airflow."""

from __future__ import annotations

import time
import uuid
from typing import Any

import click

from vmkeep.cli.bars import progress_bars, rate
from vmkeep.cli.completions import complete_selectors
from vmkeep.cli.guest_options import guest_command_options, take_guest
from vmkeep.cli.options import (
    json_option,
    repository_option,
    selector_option,
    site_from,
    transports_option,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import print_json, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.errors import UsageError
from vmkeep.flows.backup_values import BackupRequest
from vmkeep.model.audit import SHARE
from vmkeep.model.job import to_plain
from vmkeep.model.point import BackupMode
from vmkeep.model.quiescing import OLDER_QUIESCE_CHOICES, QUIESCE_CHOICES, parse_quiesce
from vmkeep.model.transport import parse_modes
from vmkeep.model.wording import counted, size
from vmkeep.policy import require_name


@click.group(cls=Verbs)
def backup() -> None:
    """Back up VMs."""


@backup.command(
    "run",
    examples={
        "Back up the VM app01; the first backup is full, later ones are incremental": "vmkeep backup run app01",
        "Read every disk in full": "vmkeep backup run app01 --full",
        "Choose the VM by its id, and leave one disk out": "vmkeep backup run moref:vm-16 --exclude scsi0:1",
        "Freeze a database in the guest for the moment of the snapshot": "vmkeep backup run db01 --guest-user backup "
        "--guest-password-file pw --pre-freeze '/opt/db/freeze' --post-thaw '/opt/db/thaw'",
        "Back up all VMs that fit a selector": "vmkeep backup run -s 'tag:backup/gold and not powerstate:off'",
    },
)
@click.argument("vm", metavar="[VM]", required=False, shell_complete=complete_selectors)
@selector_option("Back up every VM that fits, the oldest point first. 'vmkeep vm list -s' shows them.")
@option(
    "--parallel",
    section=Section.WHAT,
    type=click.IntRange(1, 32),
    default=2,
    show_default=True,
    metavar="N",
    help="With --select: back up so many VMs at the same time.",
)
@option("--full", section=Section.WHAT, is_flag=True, help="Read every disk in full, whatever change tracking says.")
@option(
    "--include",
    section=Section.WHAT,
    multiple=True,
    metavar="DISK",
    help="Copy only disks that fit: an address (scsi0:1), a label, a device key, or a rule such as '>2TiB', '<10GiB', "
    "label:GLOB, datastore:GLOB, or some of them with ' & ' between; can be repeated.",
)
@option(
    "--exclude",
    section=Section.WHAT,
    multiple=True,
    metavar="DISK",
    help="Leave out disks that fit, written as for --include, which counts less; can be repeated.",
)
@option(
    "--read-lun",
    "read_luns",
    section=Section.WHAT,
    multiple=True,
    metavar="DISK",
    help="Read the content of physical RDMs that fit, written as for --include, from their LUNs, which this machine "
    "has to see as block devices. While the guest runs, only an array hook makes that content consistent.",
)
@option(
    "--skipped-is-failure",
    section=Section.WHAT,
    is_flag=True,
    help="Fail, before anything is touched, if a disk cannot be copied that no --exclude leaves out.",
)
@option(
    "--mode",
    section=Section.WHAT,
    type=click.Choice([mode.value for mode in BackupMode]),
    default=BackupMode.SNAPSHOT_EXCL_MEM.value,
    show_default=True,
    help="How the VM is held still: by a snapshot with its memory (INCL) or without (EXCL). ASIS takes no snapshot, "
    "and needs a VM that is off. SUSPEND suspends the VM for its snapshot, and resumes it at once.",
)
@option(
    "--quiesce",
    section=Section.WHAT,
    type=click.Choice([*QUIESCE_CHOICES, *OLDER_QUIESCE_CHOICES]),
    default=QUIESCE_CHOICES[0],
    show_default=True,
    help="Whether VMware Tools write out the guest's data before the snapshot. If they cannot, 'required' fails, and "
    "'preferred' warns. With ':application', vSphere does not tell whether applications took part: the point then "
    "says file-system, with a warning. The last three are older words: a level alone is preferred, none is off.",
)
@option(
    "--audit",
    section=Section.WHAT,
    type=click.FloatRange(0, 1),
    default=SHARE,
    show_default=True,
    metavar="SHARE",
    help="The share of the blocks that did not change which is read and compared with the last point, because change "
    "tracking may leave out a change. The next run takes the next share.",
)
@option(
    "--verify",
    section=Section.WHAT,
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="The share of the new point that is read back at once: 0 reads none of its data, 1 reads all.",
)
@option(
    "--policy",
    section=Section.WHAT,
    metavar="NAME",
    help="The policy that the point belongs to: its retention counts for the VM. By default the point names none, and "
    "the VM stays with the policy of its earlier points.",
)
@guest_command_options
@repository_option
@vsphere_options
@vddk_option
@transports_option
@json_option
def run(
    vm: str | None, selector: str | None, full: bool, include: tuple[str, ...], exclude: tuple[str, ...],
    read_luns: tuple[str, ...], skipped_is_failure: bool, mode: str, quiesce: str, audit: float, verify: float,
    transports: str, policy: str | None, parallel: int,
    repository: str | None, vddk: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Back up one VM, or a group of VMs.

    VM is a name, an inventory path, or a selector that one VM fits (docs/cli.md: Selectors). With --select the failure
    of one VM stops no other one; the exit code is 14 if any failed. An interrupt stops all of them, and waits until
    they have removed their snapshots.
    """
    if (vm is None) is (selector is None):
        raise UsageError("name one VM, or give a selector of several with --select")
    guest, logins = take_guest(given)
    site = site_from(repository=repository, vddk=vddk, **given)
    wish = parse_quiesce(quiesce)
    request = BackupRequest(
        vm_selector=vm or "",
        run=f"cli-{uuid.uuid4().hex[:12]}",
        mode=BackupMode(mode),
        quiesce=wish.level,
        quiesce_required=wish.required,
        transports=parse_modes(transports),
        include=include,
        exclude=exclude,
        read_luns=read_luns,
        skipped_is_failure=skipped_is_failure,
        full=full,
        audit=audit,
        guest=guest,
        policy=None if policy is None else require_name(policy),
    )
    if selector is not None:
        from vmkeep.cli.backup_group import run_group  # takes time to import

        run_group(site, selector, request, verify=verify, parallel=parallel, as_json=as_json, logins=logins)
        return
    from vmkeep.flows.complete_runs import run_backup  # takes time to import

    started = time.monotonic()
    with progress_bars(hidden=as_json) as bars:
        sealed, verified = run_backup(site, request, bars=bars, announce=warn, verify=verify, logins=logins)
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {**to_plain(sealed), "verified_bytes": verified.bytes_checked, "duration_seconds": round(seconds, 3)}
        )
        return
    disks = f"{counted(sealed.disks_copied, 'disk')}, {sealed.disks_skipped} skipped"
    if sealed.full_reads:
        disks += f", {sum(sealed.full_reads.values())} read in full"
    moved = f"read {size(sealed.bytes_read)}, stored {size(sealed.bytes_stored)}, {rate(sealed.bytes_read, seconds)}"
    click.echo(f"{sealed.point}: {sealed.kind}, {sealed.consistency}, {disks}, {moved}")
