"""``vmkeep repo prune``: forget points by a rule, and give back the space that nothing needs."""

from __future__ import annotations

import sys
from datetime import timedelta, tzinfo
from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.options import json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table, progress_bars, size
from vmkeep.cli.retention_options import retention_options
from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.model.job import to_plain
from vmkeep.policy import RetentionRule

if TYPE_CHECKING:
    from vmkeep.maintenance.plan import PrunePlan
    from vmkeep.maintenance.prune import PruneReport


@click.command("prune")
@repository_option
@retention_options
@click.option(
    "--grace", type=click.FloatRange(min=0), default=48, show_default=True, metavar="HOURS",
    help="How young a pack is left alone, and how long a condemned one stays: longer than the longest backup. With "
    "less, backups that run meanwhile may have to start again; nothing is ever harmed.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def prune(
    repository: str | None,
    rule: RetentionRule | None,
    zone: tzinfo,
    grace: float,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget the points that a rule does not keep, then delete what no point needs; without a rule only the latter.

    Backups go on meanwhile. Space is given back in two steps: what nothing reaches is condemned, and a later prune
    deletes it. So run it regularly; 'vmkeep point retention' shows what a rule would keep.
    """
    from vmkeep.flows.maintenance import grace_margins  # with numpy behind it
    from vmkeep.maintenance.clock import time_for_rules
    from vmkeep.maintenance.plan import plan_prune
    from vmkeep.maintenance.prune import execute

    if not (dry_run or yes) and (as_json or not sys.stdin.isatty()):
        raise UsageError("add --yes to prune without being asked, or --dry-run to see what would be done")
    margins = grace_margins(timedelta(hours=grace))
    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        at = time_for_rules(opened.blobs) if rule else now()
        plan = plan_prune(opened, rule, margins=margins, now=at, zone=zone)
        if not as_json:
            _show_plan(plan, zone)
        if dry_run:
            if as_json:
                print_json({"plan": _plain(plan)})
            return
        if not (yes or plan.empty):
            click.confirm("Do this?", abort=True, err=True)
        report = execute(opened, plan, on_progress=bars("prune"))
    if as_json:
        print_json({"plan": _plain(plan), "report": to_plain(report)})
    else:
        _show_report(report)
    report.require_room()


def _show_plan(plan: PrunePlan, zone: tzinfo) -> None:
    if plan.verdicts:
        print_table(
            ("point", "VM", "taken at", "", "why"),
            [
                (
                    verdict.point.ref,
                    verdict.point.vm_name,
                    f"{verdict.point.taken_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
                    "stays" if verdict.keep else "GOES",
                    ", ".join(map(str, verdict.reasons)),
                )
                for verdict in plan.verdicts
            ],
        )
        click.echo(f"{len(plan.forgotten)} of {len(plan.verdicts)} points go")
    print_table(
        ("packs", "number", "bytes"),
        [
            ("all", plan.packs, f"{size(plan.pack_bytes)}, {size(plan.live_bytes)} of it needed"),
            ("condemned now, deleted by a later prune", len(plan.condemned), size(sum(plan.condemned.values()))),
            (
                "rewritten, for most of them is waste",
                len(plan.rewritten),
                f"{size(sum(plan.rewritten.values()))} moved",
            ),
            ("deleted now", len(plan.swept), size(sum(plan.swept.values()))),
            ("condemned, and waiting", plan.waiting, ""),
        ],
    )
    if plan.lost_blocks:
        click.echo(f"{plan.lost_blocks} blocks that points need are lost; run 'vmkeep repo check'", err=True)


def _show_report(report: PruneReport) -> None:
    click.echo(
        f"{len(report.points_forgotten)} points forgotten, {report.packs_deleted} packs deleted, "
        f"{size(report.bytes_freed)} given back, {report.packs_rewritten} packs rewritten, "
        f"{report.packs_condemned} condemned"
    )
    if report.packs_pardoned:
        click.echo(f"{report.packs_pardoned} condemned packs are needed again and stay")
    if report.given_way:
        click.echo("a backup or another prune could not wait, so not all was deleted; the next prune will")
    for what in (report.points_kept, report.locked, report.packs_damaged):
        for name, why in what.items():
            click.echo(f"{name} stays: {why}")


def _plain(plan: PrunePlan) -> dict[str, Any]:
    def packs(of: dict[str, int]) -> dict[str, int]:
        return {"packs": len(of), "bytes": sum(of.values())}

    return {
        "points": [
            {"ref": verdict.point.ref, "keep": verdict.keep, "reasons": [reason.text for reason in verdict.reasons]}
            for verdict in plan.verdicts
        ],
        "condemned": packs(dict(plan.condemned)),
        "rewritten": packs(dict(plan.rewritten)),
        "swept": packs(dict(plan.swept)),
        "waiting": plan.waiting,
        "packs": plan.packs,
        "pack_bytes": plan.pack_bytes,
        "live_bytes": plan.live_bytes,
        "lost_blocks": plan.lost_blocks,
    }
