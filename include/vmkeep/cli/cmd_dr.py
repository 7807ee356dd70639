"""``vmkeep dr``: recovery plans, what they would restore, and what was reached and proved."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.dr_exec import exec_
from vmkeep.cli.dr_report import report_document, show_report, span
from vmkeep.cli.dr_run import new_run, plan_argument, run, when_option
from vmkeep.cli.options import (
    catalog_url,
    json_option,
    open_given,
    repository_option,
    site_from,
    vcenter_from,
    vddk_option,
    vsphere_options,
)
from vmkeep.cli.output import one_line, print_json, print_table, sentence, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.times import shown_second, shown_time, shown_zone
from vmkeep.errors import ConflictError, PlanError, Recovery, SomeFailedError, UsageError
from vmkeep.model.wording import age, counted, counted_of
from vmkeep.recovery import PLAN, read_plan

if TYPE_CHECKING:
    from vmkeep.flows.recovery_order import PlannedVm
    from vmkeep.recovery import ChosenVms


@click.group(cls=Verbs)
def dr() -> None:
    """Recover from a disaster by a plan, rehearse it, and show what was proved."""


dr.add_command(run)
dr.add_command(exec_)


@dr.command(
    "check",
    examples={
        "Look for faults, and see what would be restored": "vmkeep dr check site-a.yaml",
        "See the points from before an attack": "vmkeep dr check site-a.yaml --before 2026-11-20T03:00:00Z",
    },
)
@plan_argument
@when_option
@option("--drill", section=Section.WHAT, is_flag=True, help="Check the drill of the plan.")
@repository_option
@json_option
def check(plan: Path, before: datetime | None, drill: bool, repository: str | None, as_json: bool) -> None:
    """Look for faults in a plan, and compare it with the restore points of the repository.

    No vCenter is asked. A fault, a group without a VM and a VM without a good point end with exit code 8.
    """
    from vmkeep.flows.recovery_points import choose_in  # takes time to import

    read = read_plan(plan)
    if read.plan is None:
        if as_json:
            print_json({"faults": read.lines})
        else:
            for line in read.lines:
                click.echo(one_line(line))
        raise PlanError(f"{plan} has {counted(len(read.faults), 'fault')}")
    with open_given(repository) as opened:
        choice = choose_in(opened, read.plan, catalog=catalog_url(), drill=drill, not_after=before)
    if as_json:
        print_json({"faults": (), **_choice_document(choice)})
    else:
        _show_choice(choice)
    if choice.problems:
        raise PlanError(f"{plan} does not fit the repository: {counted(len(choice.problems), 'problem')}")


def _choice_document(choice: ChosenVms) -> dict[str, Any]:
    return {"vms": list(choice.vms), "problems": choice.problems, "notes": choice.notes}


def _show_choice(choice: ChosenVms) -> None:
    zone = shown_zone()
    for note in choice.notes:
        warn(note)
    rows = [(vm.group, vm.vm_name, vm.new_name, vm.point, shown_time(vm.taken_at, zone)) for vm in choice.vms]
    print_table(("group", "VM", "restored as", "point", f"taken at ({zone})"), rows, none="no VM is chosen")
    for problem in choice.problems:
        click.echo(one_line(f"problem: {problem}"))


@dr.command(
    "plan",
    examples={"See everything that would be done, and every refusal": "vmkeep dr plan site-a.yaml"},
)
@plan_argument
@when_option
@option("--drill", section=Section.WHAT, is_flag=True, help="Plan the drill.")
@repository_option
@vsphere_options
@vddk_option
@json_option
def preview_run(
    plan: Path, before: datetime | None, drill: bool, repository: str | None, vddk: str | None, as_json: bool,
    **vsphere: str | None,
) -> None:  # fmt: skip
    """Plan the restore of every VM against the vCenter to restore to, and change nothing there.

    A VM that cannot be restored is told of with the reason, and the exit code is 12.
    """
    from vmkeep.flows.recovery_order import RecoveryWishes, preview  # takes time to import

    site = site_from(repository=repository, vddk=vddk, **vsphere)
    wishes = RecoveryWishes(run=new_run(), plan=read_plan(plan), drill=drill, not_after=before)
    order, planned = preview(site, wishes, tell=(lambda _vm: None) if as_json else _show_planned)
    if as_json:
        print_json({"vms": list(planned), "notes": order.notes})
    else:
        for note in order.notes:
            warn(note)
    refused = sum(bool(vm.refusal) for vm in planned)
    if refused:
        raise ConflictError(f"{counted_of(refused, len(planned), 'VM')} cannot be restored to {order.server}")
    if not as_json:
        click.echo(f"{counted(len(planned), 'VM')} can be restored to {order.server}")


def _show_planned(vm: PlannedVm) -> None:
    click.echo(one_line(f"{vm.group}: {vm.vm_name} as {vm.new_name}"))
    for line in vm.lines:
        click.echo(sentence(f"  {line}"))
    for warning in vm.warnings:
        click.echo(sentence(f"  warning: {warning}"))
    if vm.refusal:
        click.echo(sentence(f"  refused: {vm.refusal}"))


@dr.command("list", examples={"List recoveries and drills": "vmkeep dr list"})
@repository_option
@json_option
def list_runs(repository: str | None, as_json: bool) -> None:
    """List the recoveries and drills that the repository knows of, oldest first."""
    from vmkeep.flows.recovery_records import list_reports  # takes time to import

    with open_given(repository) as opened:
        reports = list_reports(opened)
    if as_json:
        print_json([report_document(report) for report in reports])
        return
    zone = shown_zone()
    rows = [
        (
            report.run, report.plan, "drill" if report.drill else "recovery", shown_time(report.began, zone),
            "ended" if report.ended else "not ended",
            f"{report.counts['healthy']} of {len(report.vms)}", str(report.counts["off"]),
            span(report.rpo(report.vms)), span(report.rto(report.vms)),
        )
        for report in reports
    ]  # fmt: skip
    print_table(
        ("run", "plan", "kind", f"began ({zone})", "state", "healthy", "off", "RPO", "RTO"),
        rows,
        none="no drill and no recovery is kept in this repository",
    )


@dr.command(
    "report",
    examples={
        "Show a report": "vmkeep dr report dr-20261126T201500Z-3f2a",
        "Write it as a page for people": "vmkeep dr report dr-20261126T201500Z-3f2a --html report.html",
    },
)
@click.argument("name", metavar="RUN")
@option("--html", section=Section.WHAT, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
        help="Write the report as one page of HTML.")  # fmt: skip
@repository_option
@json_option
def report(name: str, html: Path | None, repository: str | None, as_json: bool) -> None:
    """Show the report of a recovery or drill: each VM with its point, RPO, RTO and the results of its probes."""
    from vmkeep.flows.recovery_records import find_report, load_pictures  # takes time to import

    with open_given(repository) as opened:
        found = find_report(opened, name)
        show_report(found, lambda: load_pictures(opened, found), html=html, as_json=as_json)


@dr.command("proved", examples={"See which VMs were never rehearsed": "vmkeep dr proved"})
@repository_option
@json_option
def proved(repository: str | None, as_json: bool) -> None:
    """List all VMs that have points, with the time since each was last restored and found healthy.

    VMs that were never proved stand first, then the one that was proved longest ago.
    """
    from vmkeep.flows.recovery_records import list_proofs  # takes time to import

    with open_given(repository) as opened:
        found = list_proofs(opened, catalog=catalog_url())
    if as_json:
        print_json(list(found))
        return
    zone = shown_zone()
    rows = [
        (
            vm.vm_name,
            "never" if vm.age_seconds is None else f"{age(vm.age_seconds)} ago",
            shown_second(vm.proof.at, zone) if vm.proof else "",
            vm.proof.point if vm.proof else "",
            vm.proof.run if vm.proof else "",
            ", ".join(vm.proof.probes) if vm.proof else "",
        )
        for vm in found
    ]
    print_table(
        ("VM", "proved", f"at ({zone})", "point", "run", "probes"),
        rows,
        first_to_go=("probes", "point"),
        none="no VM has a restore point",
    )


@dr.command(
    "overdue",
    examples={"Tell a monitoring system which VMs no drill has proved in time": "vmkeep dr overdue site-a.yaml --json"},
)
@plan_argument
@repository_option
@json_option
def overdue(plan: Path, repository: str | None, as_json: bool) -> None:
    """Name each VM of a plan that was not proved restorable for longer than the plan's proved_within.

    No vCenter is asked. The exit code is 14 if a VM is named, or if the plan could not be rehearsed now.
    """
    from vmkeep.flows.proof_ages import watch_proofs  # takes time to import

    sound = read_plan(plan).sound()
    if sound.drill is None or sound.drill.proved_within is None:
        raise UsageError(f"{plan} says nothing of proofs: write proved_within, e.g. 35d, below drill")
    with open_given(repository) as opened:
        watch = watch_proofs(opened, sound, catalog=catalog_url())
    if as_json:
        print_json({"unproved": list(watch.unproved), "problems": watch.problems})
    else:
        for line in watch.lines:
            click.echo(one_line(line))
    if watch.lines:
        raise SomeFailedError(
            f"plan {sound.name}: {counted(len(watch.unproved), 'VM')} not proved in time", recovery=Recovery.STOP
        )


@dr.command("clean", examples={"Remove what a drill left": "vmkeep dr clean dr-20261126T201500Z-3f2a"})
@click.argument("name", metavar="RUN")
@repository_option
@vsphere_options
@json_option
def clean(name: str, repository: str | None, as_json: bool, **vsphere: str | None) -> None:
    """Remove the VMs of a drill that were kept, or that a drill left when its process died.

    Only VMs that the drill made and that carry its mark (their advanced setting vmkeep.drill) are removed.
    A clone of one stays, and so does one to which somebody attached a disk.
    """
    from vmkeep.flows.recovery import remove_drill  # takes time to import

    site = replace(site_from(repository=repository), vcenter=vcenter_from(**vsphere))
    found = remove_drill(site, name)
    for line in found.strangers:
        warn(line)
    if as_json:
        print_json({"removed": list(found.removed), "strangers": list(found.strangers)})
    else:
        click.echo(f"{counted(len(found.removed), 'VM')} of drill {name} removed")
    found.require_complete()


@dr.command("order", examples={"Get back the plan of a run": "vmkeep dr order dr-20261126T201500Z-3f2a > site-a.yaml"})
@click.argument("name", metavar="RUN")
@repository_option
def order(name: str, repository: str | None) -> None:
    """Print the plan that a run was begun with, e.g. to go on with the run from another machine."""
    from vmkeep.flows.recovery_records import find_order  # takes time to import

    with open_given(repository) as opened:
        click.echo(find_order(opened, name).plan, nl=False)


@dr.command("schema", examples={"Keep the schema for an editor": "vmkeep dr schema > vmkeep-plan.schema.json"})
def schema() -> None:
    """Print the JSON schema of a plan file: every field, its meaning and its default.

    Editors that know JSON schemas check and complete plans with it.
    """
    click.echo(PLAN.text, nl=False)
