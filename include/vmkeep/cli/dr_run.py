"""``vmkeep dr run``: restore everything that a plan names, and say what was reached."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.dr_report import show_report
from vmkeep.cli.guest_options import given_logins, guest_login_options
from vmkeep.cli.options import json_option, open_given, repository_option, site_from, vddk_option, vsphere_options
from vmkeep.cli.output import one_line, warn
from vmkeep.cli.pages import Section, command, option
from vmkeep.clock import now
from vmkeep.errors import Recovery, SomeFailedError, UsageError
from vmkeep.model.point import stamp_of
from vmkeep.model.wording import counted, counted_of
from vmkeep.recovery import RecoveryGroup, RecoveryReport, VmOutcome, parse_moment, read_plan


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    try:
        return None if value is None else parse_moment(value)
    except UsageError as error:
        raise click.BadParameter(str(error)) from error


plan_argument = click.argument("plan", metavar="PLAN", type=click.Path(path_type=Path))
when_option = option(
    "--before", section=Section.WHAT, metavar="TIME", callback=_moment,
    help="Choose no restore point that is younger, whatever the groups say, e.g. because an attacker was at work since "
    "then.",
)  # fmt: skip


def new_run() -> str:
    """Return the id of a new run. Ids sort by time."""
    return f"dr-{stamp_of(now())}-{uuid.uuid4().hex[:4]}"


@command(
    "run",
    examples={
        "Restore everything to another vCenter": "vmkeep dr run site-a.yaml --vcenter vcenter.dr.example.com",
        "Rehearse it in an isolated network": "vmkeep dr run site-a.yaml --drill --html drill.html",
        "Go on with a run that was interrupted": "vmkeep dr run site-a.yaml --run dr-20261126T201500Z-3f2a",
    },
)
@plan_argument
@option(
    "--drill",
    section=Section.WHAT,
    is_flag=True,
    help="Rehearse: restore to the isolated network, with new names and identities, probe, and remove the VMs.",
)
@option(
    "--keep",
    section=Section.WHAT,
    is_flag=True,
    help="With --drill: leave the VMs, until 'vmkeep dr clean' removes them.",
)
@option(
    "--run",
    "name",
    section=Section.WHAT,
    metavar="RUN",
    help="Id of the run; by default a new one. With the id of a run that did not end, it goes on with everything that "
    "is not done.",
)
@when_option
@option(
    "--lost-at",
    section=Section.WHAT,
    metavar="TIME",
    callback=_moment,
    help="The time of the disaster, from which the age of the data (RPO) counts; by default, when the run begins.",
)
@option(
    "--approve",
    "approved",
    section=Section.WHAT,
    metavar="GROUP",
    multiple=True,
    help="Approve a group beforehand, or 'all' of them. Can be repeated.",
)
@option(
    "--despite-refusals",
    section=Section.WHAT,
    is_flag=True,
    help="Restore the other VMs if some cannot be restored. By default nothing is begun then.",
)
@option(
    "--html",
    section=Section.WHAT,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report as one page of HTML, too.",
)
@guest_login_options
@repository_option
@vsphere_options
@vddk_option
@json_option
def run(
    plan: Path, drill: bool, keep: bool, name: str | None, before: datetime | None, lost_at: datetime | None,
    approved: tuple[str, ...], despite_refusals: bool, html: Path | None, guest_user: str | None,
    guest_password_file: str | None, repository: str | None, vddk: str | None, as_json: bool, **vsphere: str | None,
) -> None:  # fmt: skip
    """Restore the VMs of a plan, group after group, probe them, and report what was reached.

    Everything is compared with the repository and the vCenter before the first change. A VM that fails stops no other,
    unless its group says so. The exit code is 14 if a VM is not healthy. The report is kept in the repository.
    """
    from vmkeep.flows.recovery import RecoveryTalk, RecoveryWishes, run_recovery  # takes time to import
    from vmkeep.flows.recovery_records import load_pictures

    if keep and not drill:
        raise UsageError("--keep is about a drill: after a recovery all VMs stay")
    site = site_from(repository=repository, vddk=vddk, **vsphere)
    read = read_plan(plan)
    asked = [group.name for group in read.sound().groups if group.approval and not {group.name, "all"} & {*approved}]
    if asked and (as_json or not sys.stdin.isatty()):
        each = " ".join(f"--approve {shlex.quote(group)}" for group in asked)
        raise UsageError(f"nobody can be asked here to approve {', '.join(asked)}: add {each}, or --approve all")
    wishes = RecoveryWishes(
        run=name or new_run(), plan=read, drill=drill, lost_at=lost_at, not_after=before,
        despite_refusals=despite_refusals, keep=keep,
    )  # fmt: skip
    click.echo(f"run {wishes.run}", err=True)

    def approve(group: RecoveryGroup, vms: int) -> bool:
        return group.name not in asked or click.confirm(f"Restore group {group.name} ({counted(vms, 'VM')})?", err=True)

    with progress_bars(hidden=as_json or bool(asked)) as bars:  # because a question would stand among the bars
        report = run_recovery(
            site, wishes, logins=given_logins(guest_user, guest_password_file),
            talk=RecoveryTalk(bars=bars, announce=warn, tell=_tell, tell_wait=_tell_wait, approve=approve),
        )  # fmt: skip

    def pictures() -> Mapping[str, bytes]:
        with open_given(repository) as opened:
            return load_pictures(opened, report)

    show_report(report, pictures, html=html, as_json=as_json)
    _end(report)


def _tell(outcome: VmOutcome, number: str) -> None:
    why = f": {outcome.error}" if outcome.error else ""
    click.echo(one_line(f"{number}: {outcome.group}: {outcome.new_name}: {outcome.state}{why}"), err=True)


def _tell_wait(line: str) -> None:
    click.echo(one_line(line), err=True)


def _end(report: RecoveryReport) -> None:
    if report.failed:
        names = ", ".join(vm.new_name for vm in report.failed[:5]) + (" …" if len(report.failed) > 5 else "")
        raise SomeFailedError(
            f"{counted_of(len(report.failed), len(report.vms), 'VM')} not restored and healthy: {names}; --run "
            f"{report.run} tries them again",
            recovery=Recovery.STOP,
        )
