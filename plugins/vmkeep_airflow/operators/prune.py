"""Forgets restore points by a rule, and gives back the space that no point needs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.clock import now
from vmkeep.model.job import to_plain
from vmkeep_airflow import secondperson
from vmkeep_airflow.operators.base import UpkeepOperator
from vmkeep_airflow.reports import held_lines, plan_lines, prune_warnings
from vmkeep_airflow.retention import is_for_once, read_retention

if TYPE_CHECKING:
    from vmkeep.flows.agreed_retention import Retention
    from vmkeep.flows.pruning import PrunePlan


class PruneOperator(UpkeepOperator):
    """Plan, show the plan, then forget the points that no rule keeps and delete what no point needs.

    It may run beside any number of backups, and is safe to repeat. Points go only by a rule: by that of the policy
    that made them; where that has none, by ``keep``; or if that is empty, by the retention of the connection. If there
    is none, every point stays. No point of a policy goes whose file is gone or has faults.

    Where a second person is demanded, a point that the agreed rules keep goes only after that person's yes to the new
    rules, which the repository knows.

    :param keep: points to keep: ``last``, ``hourly``, ``daily``, ``weekly``, ``monthly``, ``yearly`` → number,
        ``within`` → length of time, e.g. ``14d``. ``None`` is not set. Templated.
    :param time_zone: the time zone in which days begin; empty: the connection's. Templated.
    :param grace_hours: age from which a pack may be condemned, and time that a condemned pack stays. Templated.
    :param plan_only: only make and log the plan. Templated.
    :returns: ``rule``, ``dry_run``, ``plan`` (``PlanCounts``), and ``done`` (``PruneCounts``) unless in a dry run.
    :raises AirflowFailException: the rule is not valid, the packs that points need are not known, or a second person is
        demanded and has not said yes: nothing was deleted. Or the store is too full to move needed blocks out of packs
        that are mostly waste.
    """

    template_fields: Sequence[str] = (
        *UpkeepOperator.template_fields, "keep", "time_zone", "grace_hours", "plan_only",
    )  # fmt: skip

    def __init__(
        self,
        *,
        keep: Any = None,
        time_zone: Any = None,
        grace_hours: Any = 48,
        plan_only: Any = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.keep = keep
        self.time_zone = time_zone
        self.grace_hours = grace_hours
        self.plan_only = plan_only

    def step(self, context: Context) -> Any:
        """Prune the repository."""
        from vmkeep.flows import pruning, upkeep
        from vmkeep.flows.repositories import open_site_repository

        retention = read_retention(self.repository_conn_id, self.keep, self.time_zone)
        rule, zone = retention.rule, retention.zone
        grace = timedelta(hours=float(self.grace_hours))
        site = self.site()
        with open_site_repository(site) as repository:
            plan = pruning.plan_prune(repository, rule, grace=grace, zone=zone, policies=retention.policies)
            by_default = rule or "every point: no retention is set"
            self.log.info("%s keeps, of VMs whose policy has no rule: %s", repository.location, by_default)
            self.warn(held_lines(plan))
            for line in plan_lines(plan, zone):
                self.log.info("%s", line)
            result = {
                "rule": str(rule) if rule else None,
                "dry_run": bool(self.plan_only),
                "plan": to_plain(upkeep.count_plan(plan)),
            }
            if self.plan_only:
                return result
            self._require_yes(context, repository, retention, plan)
            report = pruning.execute_prune(repository, plan, catalog=site.catalog, on_progress=self.follow("prune"))
            secondperson.forget(site, context, retention.id)
            self.warn(prune_warnings(plan, report))
        result["done"] = to_plain(upkeep.count_prune(report))
        if report.not_rewritten:
            context["ti"].xcom_push(
                key="return_value", value=result
            )  # because Airflow keeps no result of a task that raises
            report.require_room()
        return result

    def _require_yes(self, context: Context, repository: Any, retention: Retention, plan: PrunePlan) -> None:
        """Return if every point that goes does so by agreed rules, or a second person has said yes to these.

        :raises AirflowFailException: a second person is demanded, and nobody has.
        """
        from vmkeep.flows.agreed_retention import keep_agreement, load_agreement, not_agreed, note_in_force

        if not secondperson.is_demanded():
            return
        once = is_for_once(self.keep, self.time_zone)
        if not not_agreed(plan.verdicts, load_agreement(repository), at=now()):
            if not once:
                note_in_force(repository, retention)
            return
        by = secondperson.require_kept(self.site(), context, retention.id)
        if not once:
            keep_agreement(repository, retention, by=by or "")
