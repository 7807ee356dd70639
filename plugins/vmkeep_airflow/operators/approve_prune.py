"""Asks a person before restore points go by rules that no two people have agreed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep_airflow import secondperson
from vmkeep_airflow.failures import leaving_reason
from vmkeep_airflow.operators.asking import AskingOperator
from vmkeep_airflow.retention import is_for_once, read_retention
from vmkeep_airflow.steps import Approval


class ApprovePruneOperator(AskingOperator):
    """Wait for a yes if the installation demands a second person and points would go that the agreed rules keep.

    The approval is for the rules, and the question names the points that go by them now. The prune goes by the
    repository's own note of it. Without a question the task passes at once.

    :param keep: points to keep, as of :class:`~vmkeep_airflow.operators.prune.PruneOperator`. Templated.
    :param time_zone: the time zone in which days begin; empty: the connection's. Templated.
    :param plan_only: nobody is asked, because nothing will go. Templated.
    :returns: the ``Approval`` of the rules as a dict.
    """

    template_fields: Sequence[str] = (*AskingOperator.template_fields, "keep", "time_zone", "plan_only")

    def __init__(self, *, keep: Any = None, time_zone: Any = None, plan_only: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep = keep
        self.time_zone = time_zone
        self.plan_only = plan_only

    @leaving_reason
    def execute(self, context: Context) -> Any:
        """Ask a person, or pass at once."""
        if not secondperson.is_demanded() or self.plan_only:
            self.log.info("nobody has to be asked")
            return to_plain(Approval(plan="", asked=False))
        shown, lines = self._question()
        if not lines:
            self.log.info("nobody has to be asked: every point that goes does so by agreed rules")
            return to_plain(Approval(plan=shown, asked=False))
        return self.ask(context, subject="Delete restore points?", lines=lines, shown=shown)

    @leaving_reason
    def execute_complete(self, context: Context, event: dict[str, Any], shown: str = "") -> Any:
        """Take the answer to the question that was shown."""
        by = super().execute_complete(context, event, shown)
        return to_plain(Approval(plan=shown, asked=True, by=by))

    def _question(self) -> tuple[str, tuple[str, ...]]:
        """Return the id of the rules, and the lines of the question; none: nobody has to be asked."""
        from vmkeep.flows.agreed_retention import find_not_agreed, load_agreement, question_lines
        from vmkeep.flows.repositories import open_site_repository

        retention = read_retention(self.repository_conn_id, self.keep, self.time_zone)
        once = is_for_once(self.keep, self.time_zone)
        with open_site_repository(self.site()) as repository:
            going = find_not_agreed(repository, retention)
            for each in going:
                self.log.info("would go: %s", each.point.ref)
            lines = question_lines(retention, load_agreement(repository), going, once=once) if going else ()
            return retention.id, tuple(lines)
