"""``vmkeep report``: reports for people who do not watch, as tables, as a page, as sheets and as data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmkeep.cli.options import catalog_url, json_option, open_given, policies_option, repository_option
from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.pages import Section, Verbs, option
from vmkeep.cli.policy_folder import read_policies
from vmkeep.cli.times import shown_zone
from vmkeep.errors import NotFoundError, UsageError
from vmkeep.model.wording import counted

if TYPE_CHECKING:
    from vmkeep.flows.reports import Report, Table
    from vmkeep.policy import Policy

F = TypeVar("F", bound=Callable[..., Any])
_LISTED = 50
"""Rows of a table that a terminal shows."""


def _outputs(function: F) -> F:
    """Add the options for the forms of a report."""
    page = option("--html", section=Section.HOW, metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
                  help="Write the report as one page of HTML that loads nothing.")  # fmt: skip
    sheets = option("--csv", section=Section.HOW, metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False),
                    help="Write each table of the report as a file of CSV into this folder.")  # fmt: skip
    return repository_option(page(sheets(json_option(function))))


@click.group(cls=Verbs)
def report() -> None:
    """Report service levels, single windows, locks and proofs, and cost."""


@report.command(
    "levels",
    examples={
        "See how well each policy was kept in the last week": "vmkeep report levels",
        "Write the month's page for the management": "vmkeep report levels --days 31 --html levels.html",
    },
)
@option("--days", section=Section.WHAT, type=click.IntRange(1, 3660), default=7, show_default=True,
        help="The days until now that count.")  # fmt: skip
@policies_option
@_outputs
def levels(
    days: int, policies: Path | None, repository: str | None, html: Path | None, csv: Path | None, as_json: bool
) -> None:
    """Report service levels: of each policy the VMs, the time within their RPO, gaps, proofs and drills.

    The RPO is the policy's max_age. A VM belongs to the policy that its newest point names. Failed backups leave
    nothing in a repository: what they cost are the gaps. Points that retention has removed are not counted.
    """
    from vmkeep.flows.reports import gather, level_report

    known = _policies(policies)
    with open_given(repository) as opened:
        past = gather(opened, catalog=catalog_url())
    _give(level_report(past, known, days=days), html=html, csv=csv, as_json=as_json)


@report.command(
    "window",
    examples={
        "See what the last window of a policy has made": "vmkeep report window nightly",
        "Look at the window that was open at a time": "vmkeep report window nightly --at 2026-11-26T23:00:00+01:00",
    },
)
@click.argument("policy", metavar="POLICY")
@option("--at", section=Section.WHAT, metavar="TIME",
        help="Take the last window that had opened by this time (ISO 8601, with a zone). Default: now.")  # fmt: skip
@policies_option
@_outputs
def window(
    policy: str, at: str | None, policies: Path | None, repository: str | None, html: Path | None, csv: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Report one window of a policy: the point of each VM, and the VMs that got none.

    Its VMs are those with a point of the policy from the 30 days before. Why a backup failed is in its run in Airflow.
    """
    from vmkeep.clock import now
    from vmkeep.flows.reports import gather, window_report
    from vmkeep.recovery import parse_moment

    known = _policies(policies)
    if policy not in known:
        raise NotFoundError(f"no policy without faults is called {policy}: see 'vmkeep policy list'")
    opening = known[policy].window.last_opening(parse_moment(at) if at else now())
    if opening is None:
        raise UsageError(f"policy {policy} has had no window by {at or 'now'}")
    with open_given(repository) as opened:
        past = gather(opened, catalog=catalog_url())
    _give(window_report(past, known[policy], opening), html=html, csv=csv, as_json=as_json)


@report.command(
    "audit",
    examples={
        "See what is locked until when, and what was proved when": "vmkeep report audit",
        "Write the page and the sheets for an auditor": "vmkeep report audit --html audit.html --csv audit",
    },
)
@_outputs
def audit(repository: str | None, html: Path | None, csv: Path | None, as_json: bool) -> None:
    """Report the locks and the proofs of every VM, and the points that somebody has to look at."""
    from vmkeep.flows.reports import audit_report, gather

    with open_given(repository) as opened:
        past = gather(opened, catalog=catalog_url(), locks=True)
    _give(audit_report(past), html=html, csv=csv, as_json=as_json)


@report.command(
    "cost",
    examples={
        "See the stored bytes of each owner": "vmkeep report cost",
        "Write the sheets for the accounts": "vmkeep report cost --csv cost",
    },
)
@policies_option
@_outputs
def cost(policies: Path | None, repository: str | None, html: Path | None, csv: Path | None, as_json: bool) -> None:
    """Report the bytes that the backups of each owner and VM have added. The owner is that of the VM's policy."""
    from vmkeep.flows.reports import cost_report, gather

    known = _policies(policies)
    with open_given(repository) as opened:
        past = gather(opened, catalog=catalog_url())
    _give(cost_report(past, known), html=html, csv=csv, as_json=as_json)


def _policies(folder: Path | None) -> dict[str, Policy]:
    files = read_policies(folder)
    for read in files:
        if read.faults:
            warn(f"{read.path}: has faults, so that the report does not know it: run 'vmkeep policy check'")
    return {read.policy.name: read.policy for read in files if read.policy is not None}


def _give(made: Report, *, html: Path | None, csv: Path | None, as_json: bool) -> None:
    """Write the files that are asked for, and print the report."""
    from vmkeep.flows.reports import csv_sheet, document_of, html_page

    if html is not None:
        _write(html, html_page(made, shown_zone()))
    if csv is not None:
        csv.mkdir(parents=True, exist_ok=True)
        for table in made.tables:
            _write(csv / f"{table.id}.csv", csv_sheet(table))
    if as_json:
        print_json(document_of(made))
        return
    click.echo(one_line(made.title))
    for name, value in made.facts:
        click.echo(f"{one_line(name)}: {one_line(value)}")
    for table in made.tables:
        _print(table)
    for note in made.notes:
        click.echo(f"Note: {one_line(note)}")


def _print(table: Table) -> None:
    from vmkeep.flows.reports import shown

    zone = shown_zone()
    click.echo(f"\n{table.title}:")
    rows = [
        [one_line(shown(cell, kind, zone)) for cell, (_, kind) in zip(row, table.columns, strict=True)]
        for row in table.rows[:_LISTED]
    ]
    print_table([name for name, _ in table.columns], rows, none="nothing")
    if (more := len(table.rows) - _LISTED) > 0:
        click.echo(f"and {counted(more, 'more row', 'more rows')}: see --html, --csv or --json")


def _write(path: Path, text: str) -> None:
    """Write a file that has its name only when it is whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
