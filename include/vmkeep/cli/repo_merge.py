"""``vmkeep repo merge``: merge many index segments into few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json
from vmkeep.cli.pages import command, option
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted, size

if TYPE_CHECKING:
    from vmkeep.flows.merging import MergePlan, MergeReport


@command("merge", examples={"Show which segments are worth merging": "vmkeep repo merge --dry-run"})
@repository_option
@option("--dry-run", is_flag=True, help="Show which segments would be merged, and write nothing.")
@json_option
def merge(repository: str | None, dry_run: bool, as_json: bool) -> None:
    """Merge small segments of the index into large ones, as far as it pays.

    Backups, restores and prunes may run meanwhile.
    """
    from vmkeep.flows.merging import merge_index, plan_merge  # takes time to import

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
    segments, rows = counted(plan.segments, "segment"), counted(plan.rows, "row")
    click.echo(f"{segments} in {rows}, {_entries(plan.entries)}")
    if plan.sources:
        entries, stored = (sum(values) for values in zip(*((s.entries, s.size) for s in plan.sources), strict=True))
        click.echo(f"worth merging: {counted(len(plan.sources), 'segment')}, {_entries(entries)}, {size(stored)}")
    else:
        click.echo("nothing is worth merging")


def _show_report(report: MergeReport) -> None:
    click.echo(
        f"merged {counted(report.segments_removed, 'segment')} into {report.segments_written}: "
        f"{_entries(report.entries)}, {size(report.bytes_written)}; {report.twins} were listed twice, "
        f"{report.dangling} pointed into packs that a prune has deleted"
    )


def _entries(number: int) -> str:
    return counted(number, "entry", "entries")
