"""``vmkeep repo prune``: forget points by a rule, and free the space that no point needs."""

from __future__ import annotations

from datetime import timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.bars import progress_bars
from vmkeep.cli.options import catalog_url, json_option, open_given, policies_option, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.questions import require_yes, yes_option
from vmkeep.cli.retention_options import retention_options
from vmkeep.model.job import to_plain
from vmkeep.model.wording import agreeing, counted, counted_of, size
from vmkeep.retention import RetentionRule

if TYPE_CHECKING:
    from vmkeep.flows.pruning import PrunePlan, PruneReport


@command(
    "prune",
    examples={
        "Show which points would go, and why the others stay": "vmkeep repo prune --keep-daily 14 --keep-weekly 8 "
        "--dry-run",
        "Prune without being asked, e.g. from cron": "vmkeep repo prune --keep-daily 14 --keep-weekly 8 --yes",
        "Keep by the rules of the policies that made the points": "vmkeep repo prune --policies include/policies "
        "--dry-run",
        "Forget no point, and only free space": "vmkeep repo prune",
    },
)
@retention_options
@option(
    "--grace-hours", section=Section.WHAT, type=click.FloatRange(min=0), default=48, show_default=True, metavar="HOURS",
    help="Leave younger packs alone, and keep condemned packs for this long. Choose a time longer than the longest "
    "backup: with less, a backup that runs meanwhile may have to start again, but nothing is ever harmed.",
)  # fmt: skip
@policies_option
@repository_option
@option("--dry-run", is_flag=True, help="Show the plan, and change nothing.")
@yes_option
@json_option
def prune(
    repository: str | None,
    policies: Path | None,
    rule: RetentionRule | None,
    zone: tzinfo,
    grace_hours: float,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget the points that a rule does not keep, and free the space that no point needs.

    Points of a VM that a policy backs up go only by that policy's rule; so without --policies they all stay. The rule
    of the options is for all other VMs. Without a rule, no point goes. Backups go on meanwhile. Space is freed in two
    steps: a prune condemns the packs that no point needs, and a later prune deletes them. So run it regularly; 'vmkeep
    point retention' shows which points a rule would keep.
    """
    from vmkeep.flows.pruning import execute_prune, plan_prune, policy_rules  # takes time to import

    with open_given(repository) as opened, progress_bars(hidden=as_json) as bars:
        plan = plan_prune(
            opened,
            rule,
            grace=timedelta(hours=grace_hours),
            zone=zone,
            policies=policy_rules(policies),
            shown=dry_run,
        )
        if not as_json:
            _show_plan(plan, zone)
        if dry_run:
            if as_json:
                print_json({"plan": _plain(plan)})
            return
        require_yes(_question(plan), yes=yes, as_json=as_json)
        report = execute_prune(opened, plan, catalog=catalog_url(), on_progress=bars("prune"))
    if as_json:
        print_json({"plan": _plain(plan), "report": to_plain(report)})
    else:
        _show_report(report)
    report.require_room()


def _show_plan(plan: PrunePlan, zone: tzinfo) -> None:
    if plan.verdicts:
        print_table(
            ("point", "VM", f"taken at ({zone})", "", "why", "rule"),
            [
                (
                    verdict.point.ref,
                    verdict.point.vm_name,
                    f"{verdict.point.taken_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
                    "stays" if verdict.keep else "GOES",
                    ", ".join(map(str, verdict.reasons)),
                    verdict.rule,
                )
                for verdict in plan.verdicts
            ],
            first_to_go=("rule",),
            none="there is no restore point",
        )
        go = len(plan.forgotten)
        click.echo(f"{counted_of(go, len(plan.verdicts), 'point')} {agreeing(go, 'goes', 'go')}")
    print_table(
        ("packs", "number", "bytes"),
        [
            ("all", plan.packs, f"{size(plan.pack_bytes)}, {size(plan.live_bytes)} of it needed"),
            ("condemned now, deleted by a later prune", len(plan.condemned), size(sum(plan.condemned.values()))),
            (
                "rewritten, because much of each is waste, or they are many small ones",
                len(plan.rewritten),
                f"{size(sum(plan.rewritten.values()))} moved",
            ),
            ("deleted now", len(plan.swept), size(sum(plan.swept.values()))),
            ("condemned, and still waiting", plan.waiting, ""),
        ],
        none="there is no pack",
    )
    if plan.lost_blocks:
        click.echo(
            f"{counted(plan.lost_blocks, 'block')} that points need cannot be found: run 'vmkeep repo check'", err=True
        )


def _question(plan: PrunePlan) -> str | None:
    """Return the question about a plan; ``None``: nothing goes."""
    if plan.empty:
        return None
    points = [f"forget {counted(len(plan.forgotten), 'restore point')}"] if plan.forgotten else []
    packs = [
        f"{verb} {counted(len(of), 'pack')} ({size(sum(of.values()))})"
        for verb, of in (("condemn", plan.condemned), ("rewrite", plan.rewritten), ("delete", plan.swept))
        if of
    ]
    told = ", ".join([*points, *packs])
    return f"{told[0].upper()}{told[1:]}?"


def _show_report(report: PruneReport) -> None:
    click.echo(
        f"{counted(len(report.points_forgotten), 'point')} forgotten, {counted(report.packs_deleted, 'pack')} deleted, "
        f"{size(report.bytes_freed)} freed, {counted(report.packs_rewritten, 'pack')} rewritten, "
        f"{report.packs_condemned} condemned"
    )
    if report.packs_pardoned:
        click.echo(f"{counted(report.packs_pardoned, 'condemned pack')} needed again: not deleted")
    if report.given_way:
        click.echo(
            "not all was deleted, because a backup or another prune could not wait; the next prune deletes the rest"
        )
    for stays in (report.points_kept, report.locked, report.packs_damaged):
        for name, why in stays.items():
            click.echo(f"{name} stays: {why}")


def _plain(plan: PrunePlan) -> dict[str, Any]:
    def packs(of: dict[str, int]) -> dict[str, int]:
        return {"packs": len(of), "bytes": sum(of.values())}

    return {
        "points": [
            {
                "ref": verdict.point.ref,
                "keep": verdict.keep,
                "reasons": [reason.text for reason in verdict.reasons],
                "policy": verdict.point.policy,
                "rule": verdict.rule,
            }
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
