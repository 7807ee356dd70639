"""Shows the report of a recovery: as a table, as data, and as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from vmkeep.cli.output import print_json, print_table, warn
from vmkeep.model.job import to_plain
from vmkeep.model.wording import age
from vmkeep.recovery import RecoveryReport, VmOutcome, VmState, page


def show_report(
    found: RecoveryReport, pictures: Callable[[], Mapping[str, bytes]], *, html: Path | None, as_json: bool
) -> None:
    """Print a report, and write it as a page if that is asked for.

    :param pictures: returns the pictures of consoles for the page.
    """
    if html is not None:
        html.write_text(page(found, pictures()), encoding="utf-8")
    if as_json:
        print_json(report_document(found))
        return
    for note in (*found.notes, *(f"{vm.new_name}: {line}" for vm in found.vms for line in vm.stepped_back)):
        warn(note)
    rows = [_outcome_row(found, vm) for vm in found.vms]
    print_table(
        ("group", "VM", "state", "point", "RPO", "RTO", "told"), rows, first_to_go=("told",), none="the run has no VM"
    )
    click.echo(
        f"run {found.run}: {found.result(found.vms)}, "
        f"RPO {span(found.rpo(found.vms))}, RTO {span(found.rto(found.vms))}"
    )


def _outcome_row(found: RecoveryReport, vm: VmOutcome) -> tuple[str, ...]:
    told = vm.error or "; ".join(f"{probe.probe}: {probe.told}" for probe in vm.probes)
    told_state = "off, not probed" if vm.state is VmState.OFF else str(vm.state)
    state = f"{told_state}, removed" if vm.removed else told_state
    return (vm.group, vm.new_name, state, vm.point, span(found.rpo((vm,))), span(found.rto((vm,))), told)


def report_document(found: RecoveryReport) -> dict[str, Any]:
    """Return a report as data, with the RPO and RTO reached."""
    return {
        **to_plain(found),
        "counts": found.counts,
        "rpo_seconds": found.rpo(found.vms),
        "rto_seconds": found.rto(found.vms),
        "groups": [
            {"name": name, "rpo_seconds": found.rpo(found.of(name)), "rto_seconds": found.rto(found.of(name))}
            for name in found.groups
        ],
        "vms": [{**to_plain(vm), "rpo_seconds": found.rpo((vm,)), "rto_seconds": found.rto((vm,))} for vm in found.vms],
    }


def span(seconds: float | None) -> str:
    """Return a time span as people read it; a dash where it was not reached."""
    return "-" if seconds is None else f"{seconds:.0f} s" if seconds < 120 else age(seconds)
