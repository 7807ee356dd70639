"""``vmkeep guest``: look into the disks of guests, as restore points hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.bars import progress_counts
from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import json_option, open_given, repository_option, selector_option
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.who import who
from vmkeep.errors import CorruptError, UsageError, VerificationError
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import agreeing, counted, counted_of

if TYPE_CHECKING:
    from vmkeep.flows.lvm_values import LvmCheck, LvmReport


@click.group(cls=Verbs)
def guest() -> None:
    """Look into the disks of guests, as restore points hold them."""


@guest.command(
    "lvm-check",
    examples={
        "Check the newest point of every VM that may run Linux": "vmkeep guest lvm-check",
        "Check one point": "vmkeep guest lvm-check latest:app01",
        "Check every point of some VMs, for a script": "vmkeep guest lvm-check -s 'name:db*' --all-points --json",
        "Mark wrong points, so that the next backup reads everything": "vmkeep guest lvm-check --mark",
    },
)
@click.argument("refs", metavar="[POINT…]", nargs=-1, shell_complete=complete_points)
@selector_option(
    "Check the VMs that fit a selector: by name, folder, address, UUID or managed object id; by default all "
    "that may run Linux."
)
@option("--all-points", section=Section.WHAT, is_flag=True, help="Check all points of a VM, and not only the newest.")
@option(
    "--mark", section=Section.WHAT, is_flag=True,
    help="Mark points that contradict themselves as suspect, so that the VM's next backup is full, and keep the "
    "outcome with each point. Without this nothing is written.",
)  # fmt: skip
@repository_option
@json_option
def lvm_check(
    refs: tuple[str, ...],
    selector: str | None,
    all_points: bool,
    mark: bool,
    repository: str | None,
    as_json: bool,
) -> None:
    """Check that the LVM volume groups in restore points are complete and agree with themselves.

    Without POINT, the newest point of each VM is checked whose guest runs Linux, or is not known, as with imported
    images. Only metadata is read, some kilobytes of each disk. The exit code is 91 if a point contradicts itself, and
    90 if none does and a point could not be checked. With --mark, it is that of the store's error, e.g. 62 for a full
    disk, if all points are good and an outcome could not be kept.
    """
    from vmkeep.flows.lvm_checks import LvmRequest, check_lvm  # takes time to import

    if refs and (selector or all_points):
        raise UsageError("name points, or choose VMs with --select and --all-points, but not both")
    request = LvmRequest(points=refs, selector=selector or "", all_points=all_points, mark=mark, record=mark)
    with open_given(repository) as opened, progress_counts("VM", hidden=as_json) as bar:
        report = check_lvm(opened, request, by=who(), on_progress=bar)
    _show(report, as_json=as_json)
    _require_good(report)


def _show(report: LvmReport, *, as_json: bool) -> None:
    for check in report.checks:
        for sentence in check.told:
            warn(f"{check.point}: {sentence}")
        for place in check.unopened:
            warn(f"{check.point}: LVM may lie unseen in {place}")
    for ref, why in sorted(report.summary.unread.items()):
        warn(f"{ref} could not be checked: {why}")
    for ref, why in sorted(report.summary.unkept.items()):
        warn(f"{ref}: the outcome of the check is not kept with it: {why}")
    if as_json:
        print_json(report.document)
        return
    print_table(
        ("point", "VM", "disks", "volume groups", "outcome"),
        [_row(check) for check in report.checks],
        none="no point was checked",
    )
    for check in report.checks:
        for found in check.findings:
            click.echo(one_line(f"{found.severity}: {check.vm}, {check.point}: {found.code}: {found.text}"))
    for line in report.summary.lines:
        click.echo(one_line(line))


def _row(check: LvmCheck) -> tuple[str, str, int, str, str]:
    groups = ", ".join(f"{one_line(vg.name)} ({counted(vg.pvs, 'PV')}, seqno {vg.seqno})" for vg in check.vgs)
    if check.failures:
        outcome = "INCONSISTENT"
    elif check.unopened:
        outcome = "undecided"
    else:
        outcome = counted(len(check.findings), "note") if check.findings else "consistent" if check.vgs else "no LVM"
    return check.point, one_line(shown_name(check.vm)), check.disks, groups, outcome


def _require_good(report: LvmReport) -> None:
    """Return if every point could be checked, none contradicts itself, and the outcomes are kept if they were to be.

    :raises VerificationError: a point contradicts itself.
    :raises CorruptError: none does, and a point could not be checked.
    :raises VmKeepError: none of both, and the store did not take an outcome.
    """
    wrong = [check for check in report.checks if check.failures]
    unread = len(report.summary.unread)
    lost = f"{counted(unread, 'point')} could not be checked" if unread else ""
    if wrong:
        found = counted_of(len(wrong), len(report.checks), "restore point")
        raise VerificationError(
            f"{found} {agreeing(len(wrong), 'contradicts itself', 'contradict themselves')}: see above"
            + (f"; {lost}" if lost else "")
        )
    if lost:
        raise CorruptError(f"{lost}: see above")
    for error in report.unkept.values():
        outcomes = counted_of(len(report.unkept), len(report.checks), "outcome")
        error.args = (f"no point contradicts itself, but {outcomes} could not be kept with the points: {error}",)
        raise error
