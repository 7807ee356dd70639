"""``vmkeep point delete``: delete restore points that are named, as carefully as retention does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vmkeep.cli.completions import complete_points
from vmkeep.cli.options import catalog_url, json_option, open_given, repository_option
from vmkeep.cli.output import print_json, print_table
from vmkeep.cli.pages import Section, command, option
from vmkeep.cli.questions import require_yes, yes_option
from vmkeep.cli.times import shown_second, shown_zone
from vmkeep.errors import ConflictError
from vmkeep.model.job import to_plain
from vmkeep.model.selector import shown_name
from vmkeep.model.wording import counted

if TYPE_CHECKING:
    from datetime import tzinfo

    from vmkeep.flows.deletion import DeletionPlan
    from vmkeep.retention import PointFacts


@command(
    "delete",
    examples={
        "See what would be deleted": "vmkeep point delete latest:app01 --dry-run",
        "Delete a point without being asked": "vmkeep point delete 4211f1d6-3b0c/20261126T101500Z-0a1b2c3d --yes",
    },
)
@click.argument("refs", metavar="POINT...", nargs=-1, required=True, shell_complete=complete_points)
@option(
    "--last",
    section=Section.WHAT,
    is_flag=True,
    help="Delete the points even if a VM then has no good restore point left.",
)
@repository_option
@option("--dry-run", is_flag=True, help="Show the plan, and delete nothing.")
@yes_option
@json_option
def delete(refs: tuple[str, ...], last: bool, repository: str | None, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete restore points; 'vmkeep repo prune' frees their space later.

    POINT is a ref as 'point list' prints it, the beginning of its last part (its id), or latest:VM. Points that are
    pinned or in use stay, and so do points that the store has locked: the exit code is then 12. The last good point of
    a VM goes only with --last.
    """
    from vmkeep.flows.deletion import execute_deletion, plan_deletion  # takes time to import

    with open_given(repository) as opened:
        plan = plan_deletion(opened, refs, shown=dry_run)
        if not as_json:
            _show_plan(plan, last=last)
        if dry_run:
            if as_json:
                print_json({"plan": _plain(plan)})
            elif plan.bare and not last:
                click.echo(f"the deletion is refused without --last: {_bare(plan)}", err=True)
            return
        _require_meant(plan, last=last)
        going = len(plan.going)
        require_yes(f"Delete {counted(going, 'restore point')} for good?" if going else None, yes=yes, as_json=as_json)
        report = execute_deletion(opened, plan, catalog=catalog_url())
    if as_json:
        print_json({"plan": _plain(plan), "report": to_plain(report)})
    else:
        click.echo(f"{counted(len(report.points_deleted), 'point')} deleted")
    if kept := report.points_kept:
        reasons = "; ".join(f"{ref}: {why}" for ref, why in kept.items())
        raise ConflictError(f"{counted(len(kept), 'point')} not deleted: {reasons}")


def _require_meant(plan: DeletionPlan, *, last: bool) -> None:
    if plan.bare and not last:
        raise ConflictError(f"{_bare(plan)}: add --last if that is meant")


def _bare(plan: DeletionPlan) -> str:
    vms = ", ".join(shown_name(point.vm_name) if point.vm_name else point.vm_key for point in plan.bare)
    return f"no good restore point would be left of {vms}"


def _show_plan(plan: DeletionPlan, *, last: bool) -> None:
    bare = {point.ref for point in plan.bare}
    zone = shown_zone()
    why = f"no good point of this VM is left then{'' if last else ': needs --last'}"
    rows = [
        *(_row(point, zone, "GOES", why if point.ref in bare else "") for point in plan.going),
        *(_row(point, zone, "stays", plan.staying[point.ref]) for point in (*plan.pinned, *plan.in_use)),
    ]
    print_table(("point", "VM", f"taken at ({zone})", "", "why"), rows, none="no restore point goes")


def _row(point: PointFacts, zone: tzinfo, fate: str, why: str) -> tuple[str, ...]:
    name = shown_name(point.vm_name) if point.vm_name else ""
    return point.ref, name, shown_second(point.taken_at, zone), fate, why


def _plain(plan: DeletionPlan) -> dict[str, Any]:
    return {
        "going": [point.ref for point in plan.going],
        "staying": plan.staying,
        "last_good": [point.ref for point in plan.bare],
    }
