"""``vmkeep point retention``: which points a rule would keep and why, and which would go. Removes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.completions import complete_vms
from vmkeep.cli.options import json_option, open_given, policies_option, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.retention_options import parse_time, retention_options
from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import agreeing, counted, counted_of
from vmkeep.retention import RetentionDecision, RetentionRule

if TYPE_CHECKING:
    from vmkeep.flows.retention import Simulation


@command(
    "retention",
    examples={
        "Try a rule": "vmkeep point retention --keep-daily 14 --keep-weekly 8 --time-zone Europe/Berlin",
        "See which points the same rule would leave in 90 days": "vmkeep point retention --keep-daily 14 "
        "--keep-weekly 8 --forecast 90",
        "See the points that the rules of the policies leave": "vmkeep point retention --policies include/policies",
    },
)
@retention_options
@option("--vm", section=Section.WHAT, metavar="VM", shell_complete=complete_vms, help="Only this VM, by name or key.")
@option(
    "--at",
    "moment",
    section=Section.WHAT,
    metavar="TIME",
    help="Apply the rule as of this date or time, in the time zone; now by default.",
)
@option(
    "--forecast",
    section=Section.WHAT,
    type=click.IntRange(1, 3660),
    metavar="DAYS",
    help="Simulate the rule this many days later, assuming that every VM keeps its backup schedule.",
)
@policies_option
@repository_option
@json_option
def retention(
    repository: str | None,
    policies: Path | None,
    rule: RetentionRule | None,
    zone: tzinfo,
    vm: str | None,
    moment: str | None,
    forecast: int | None,
    as_json: bool,
) -> None:
    """Show which points a retention rule would keep, why, and which would go. Removes nothing.

    With --policies, the rule of its policy decides about the points of each VM that a policy backs up.
    """
    from vmkeep.flows.pruning import policy_rules  # takes time to import
    from vmkeep.flows.retention import simulate

    if rule is None and policies is None:
        raise UsageError("no rule is given: say which points to keep, e.g. --keep-daily 14 --keep-weekly 8")
    at = parse_time(moment, zone).astimezone(UTC) if moment else now()
    with open_given(repository) as opened:
        simulation = simulate(
            opened, rule, at=at, zone=zone, days=forecast or 0, vm=vm,
            policies=None if policies is None else policy_rules(policies),
        )  # fmt: skip
    if as_json:
        print_json(_plain(simulation))
    else:
        _show(simulation, zone)


def _show(simulation: Simulation, zone: tzinfo) -> None:
    shown = [*simulation.verdicts, *(verdict for verdict in simulation.expected if verdict.keep)]
    print_table(
        ("point", "VM", f"taken at ({zone})", "", "why", "rule"),
        [
            (
                verdict.point.ref,
                verdict.point.vm_name and shown_name(verdict.point.vm_name),
                f"{verdict.point.taken_at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
                "stays" if verdict.keep else "GOES",
                ", ".join(map(str, verdict.reasons)),
                verdict.rule,
            )
            for verdict in shown
        ],
        first_to_go=("rule",),
        none="there is no restore point",
    )
    stay = sum(verdict.keep for verdict in simulation.verdicts)
    go = len(simulation.verdicts) - stay
    told = simulation.rule or "no rule for VMs without a policy"
    click.echo(
        f"{told}; at {simulation.at.astimezone(zone):%Y-%m-%d %H:%M %Z}: "
        f"{counted_of(stay, len(simulation.verdicts), 'point')} {agreeing(stay, 'stays', 'stay')}, "
        f"{go} {agreeing(go, 'goes', 'go')}"
    )
    if simulation.expected:
        more = sum(verdict.keep for verdict in simulation.expected)
        click.echo(
            f"backups would make {counted(len(simulation.expected), 'point')} until then, and {more:,} of these would "
            f"stay: {counted(stay + more, 'point')} in all"
        )


def _plain(simulation: Simulation) -> dict[str, Any]:
    def points(verdicts: Sequence[RetentionDecision]) -> list[dict[str, Any]]:
        return [
            {
                "ref": verdict.point.ref,
                "vm": verdict.point.vm_name,
                "taken_at": verdict.point.taken_at.isoformat(),
                "good": verdict.point.good,
                "keep": verdict.keep,
                "policy": verdict.point.policy,
                "rule": verdict.rule,
                "reasons": [{"cause": reason.cause, "text": reason.text} for reason in verdict.reasons],
            }
            for verdict in verdicts
        ]

    return {
        "rule": str(simulation.rule) if simulation.rule else None,
        "at": simulation.at.isoformat(),
        "kept": sum(verdict.keep for verdict in simulation.verdicts),
        "dropped": sum(not verdict.keep for verdict in simulation.verdicts),
        "points": points(simulation.verdicts),
        "expected": points(simulation.expected),
    }
