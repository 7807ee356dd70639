"""Shows the reports of checks of data quality: as tables, as data, and as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vmkeep.cli.output import one_line, print_json, print_table, warn
from vmkeep.cli.times import shown_time, shown_zone
from vmkeep.errors import QualityError
from vmkeep.flows.quality import QualityReport, document_of, page
from vmkeep.model.wording import counted

_SHOWN = 20
"""Findings of one expectation that a terminal lists. The page and the data have more."""


def show_quality(report: QualityReport, *, html: Path | None, as_json: bool) -> None:
    """Print a report, and write it as a page if that is asked for.

    :raises QualityError: a finding is a failure, or something could not be looked at.
    """
    if html is not None:
        html.write_text(page(report), encoding="utf-8")
    if as_json:
        print_json(document_of(report))
    else:
        _print(report)
    if not report.is_good:
        names = ", ".join(one.id for one in report.failed)
        failed = [f"{counted(len(report.failed), 'expectation')} failed: {names}"] if names else []
        raise QualityError("; ".join([*failed, *report.gaps]))


def _print(report: QualityReport) -> None:
    for note in report.notes:
        warn(note)
    rows = [(one.result, one.id, f"{one.found:,}", one.skipped or one.gap or one.title) for one in report.judgements]
    print_table(
        ("result", "expectation", "findings", "statement"),
        rows,
        first_to_go=("statement",),
        none="no expectation was looked at",
    )
    for one in report.judgements:
        if not one.found:
            continue
        click.echo(f"\n{one.id}: {one.meaning}\n  {one.remedy}")
        for finding in one.findings[:_SHOWN]:
            click.echo(f"  {finding.severity}: {one_line(finding.line)}")
        if (more := one.found - _SHOWN) > 0:
            click.echo(f"  and {more:,} more: --html writes a page with {min(one.found, len(one.findings)):,} of them")
    points = f"{counted(report.points, 'point')} of {counted(report.vms, 'VM')}"
    click.echo(f"\n{points} checked in {report.seconds:.1f} s: {report.result}")


def show_past(reports: Sequence[QualityReport], *, as_json: bool) -> None:
    """Print the results of earlier checks, the newest first."""
    if as_json:
        print_json([document_of(report) for report in reports])
        return
    zone = shown_zone()
    print_table(
        (f"checked ({zone})", "result", "points", "VMs", "not met"),
        [_past(report, zone) for report in reports],
        none="no check of the catalog is kept",
    )


def _past(report: QualityReport, zone: Any) -> tuple[str, ...]:
    found = ", ".join(f"{one.id} {one.found:,}" for one in report.judgements if one.found)
    return shown_time(report.at, zone), report.result, f"{report.points:,}", f"{report.vms:,}", found or "none"
