"""``vmkeep repo merge``: many index segments into few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, progress_bars, size
from vmkeep.model.job import to_plain

if TYPE_CHECKING:
    from vmkeep.maintenance.merge import MergePlan, MergeReport


@click.command("merge")
@repository_option
@click.option("--dry-run", is_flag=True, help="Say what would be merged, and write nothing.")
@json_option
def merge(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """Merge the segments of the index that backups have left, as far as it pays; safe beside everything else."""
    from vmkeep.flows.maintenance import merge_index  # takes time to import
    from vmkeep.maintenance.merge import plan_merge

    reports: list[MergeReport] = []
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        if dry_run:
            first = plan_merge(opened)
        else:
            first, reports = merge_index(opened, on_progress=bars("index"))
    if as_json:
        print_json({"plan": to_plain(first), "merged": [to_plain(report) for report in reports]})
        return
    _show_plan(first)
    for report in reports:
        _show_report(report)


def _show_plan(plan: MergePlan) -> None:
    click.echo(f"{plan.segments} segments in {plan.rows} rows, {plan.entries} entries")
    if plan.sources:
        entries, stored = (sum(values) for values in zip(*((s.entries, s.size) for s in plan.sources), strict=True))
        click.echo(f"worth merging: {len(plan.sources)} segments, {entries} entries, {size(stored)}")
    else:
        click.echo("nothing is worth merging")


def _show_report(report: MergeReport) -> None:
    click.echo(
        f"merged {report.segments_removed} segments into {report.segments_written}: {report.entries} entries, "
        f"{size(report.bytes_written)}; {report.twins} listed twice, {report.dangling} of packs that are gone"
    )
