"""``vmkeep vm sweep``: find what dead runs left on a vCenter, and repair what is surely ours."""

from __future__ import annotations

from datetime import timedelta

import click

from vmkeep.cli.guest_options import given_logins, guest_login_options
from vmkeep.cli.options import json_option, repository_option, site_from, vddk_option, vsphere_options
from vmkeep.cli.output import one_line, print_json, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.errors import TransientError
from vmkeep.flows.leftover_ages import FOREIGN_AGE, GIVEN_UP
from vmkeep.flows.sweep_report import Finding, State
from vmkeep.model.wording import age, counted

_HEADINGS = ("finding", "moref", "VM", "run", "age", "state", "more")
_FIRST_TO_GO = ("moref", "run")


@command(
    "sweep",
    examples={
        "List the leftovers, and change nothing": "vmkeep vm sweep --dry-run",
        "Repair them": "vmkeep vm sweep",
    },
)
@option(
    "--given-up-after-hours", section=Section.WHAT, type=click.FloatRange(min=1), metavar="HOURS",
    default=GIVEN_UP // timedelta(hours=1), show_default=True,
    help="Treat a run as dead that has shown no sign of life for this long.",
)  # fmt: skip
@option(
    "--foreign-after-days", section=Section.WHAT, type=click.FloatRange(min=0), metavar="DAYS",
    default=FOREIGN_AGE // timedelta(days=1), show_default=True,
    help="List also snapshots of somebody else from this age on. They are never removed.",
)  # fmt: skip
@repository_option
@vsphere_options
@vddk_option
@guest_login_options
@option("--dry-run", is_flag=True, help="List the leftovers, and change nothing.")
@json_option
def sweep(
    *, given_up_after_hours: float, foreign_after_days: float, dry_run: bool, repository: str | None,
    vddk: str | None, as_json: bool, guest_user: str | None, guest_password_file: str | None, **vsphere: str | None,
) -> None:  # fmt: skip
    """Find what dead runs left on a vCenter, and repair what is surely of this repository's runs.

    It resumes suspended VMs, thaws guests, detaches disks from this proxy, removes snapshots and half-made VMs, lets
    VMs be moved again and consolidates disks. The rest is only listed: leftovers of other repositories, and old
    snapshots of somebody else. VMs of living runs are left alone. The DAG snapshot_sweep does the same.
    """
    from vmkeep.flows.sweep import SweepWishes, run_sweep  # takes time to import

    site = site_from(repository=repository, vddk=vddk, **vsphere)
    wishes = SweepWishes(
        dry_run=dry_run,
        given_up=timedelta(hours=given_up_after_hours),
        foreign_age=timedelta(days=foreign_after_days),
        logins=given_logins(guest_user, guest_password_file),
    )
    report = run_sweep(site, wishes)
    if as_json:
        print_json({"counts": report.counts, "findings": report.findings})
    else:
        print_table(
            _HEADINGS, [_row(found) for found in report.findings], first_to_go=_FIRST_TO_GO, none="no leftovers"
        )
    if failed := report.of(State.FAILED):
        raise TransientError(f"{counted(len(failed), 'leftover')} could not be repaired: see above, and try again")


def _row(found: Finding) -> tuple[str, ...]:
    old = age(found.age_seconds) if found.age_seconds is not None else ""
    vm = (found.vm.moref, found.vm.name) if found.vm is not None else ("", "")
    cells = (found.kind, *vm, found.run, old, found.state, found.detail)
    return tuple(one_line(str(cell)) for cell in cells)
