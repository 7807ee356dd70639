"""Plans a restore, as its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from vmkeep.flows.restore_request import OnConflict, RestoreRequest, make_request
from vmkeep.model.fieldwords import in_params
from vmkeep.model.job import to_plain
from vmkeep.model.scanning import ScanFirst
from vmkeep.model.site import Site
from vmkeep_airflow.dagruns import has_ended, own_dag_run, owner_text
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.progress import describe_share
from vmkeep_airflow.wizardplans import refusal_as_answer

if TYPE_CHECKING:
    from vmkeep.flows.restore_values import RestorePlan
    from vmkeep.flows.stopping import Stop


class PlanRestoreOperator(SiteOperator):
    """Match the disks with their targets, and find all that could stop the restore, before anything is changed.

    If ``on_conflict`` is ``prompt``, the plan is made as for ``overwrite``, and ``ApproveRestoreOperator`` asks.

    :param request: the params of a ``vm_restore`` run: fields of a ``RestoreRequest``, but ``vm`` for its selector.
        Templated.
    :param as_shown: the digest of a plan that a person has seen before the run; empty: nobody has. A plan that decides
        anything else fails. Templated.
    :returns: the ``RestorePlan`` as a dict. All later steps carry out this plan, or nothing. If the restore wizard
        asked for a plan that cannot be made, the task skips itself, and all later ones.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "request", "as_shown")

    def __init__(self, *, request: Any, as_shown: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request
        self.as_shown = as_shown
        self._stop: Stop | None = None

    def step(self, context: Context) -> Any:
        """Make the plan, and log it."""
        ti = context["ti"]
        owner = own_dag_run(ti)
        own = {"run": owner.run_key(ti.try_number), "owner": owner_text(owner)}
        with refusal_as_answer(ti, only_plan=bool(self.request.get("dry_run"))):
            return to_plain(self._planned(context, own))

    def _planned(self, context: Context, own: Mapping[str, str]) -> RestorePlan:
        from vmkeep.flows import restore
        from vmkeep.flows.restore_ledger import require_as_seen
        from vmkeep.flows.restore_wording import plan_lines

        request = request_from(self.request, own)
        if request.on_conflict is OnConflict.PROMPT:
            request = replace(request, on_conflict=OnConflict.OVERWRITE)
        site = self.site()
        request = self._scanned(site, request, context)
        plan = restore.plan_restore(site, request, has_ended=has_ended(context["ti"]))
        self.warn(plan.warnings)
        for line in plan_lines(plan):
            self.log.info("%s", in_params(line))
        require_as_seen(plan, self.as_shown or "")
        return plan

    def _scanned(self, site: Site, request: RestoreRequest, context: Context) -> RestoreRequest:
        """Scan the point first, if the request says so. Return the request for the very point that was scanned.

        A plan that was shown had its scan, and this plan is refused unless that one lets the point pass.
        """
        if request.scan is ScanFirst.NO or self.as_shown:
            return request
        from vmkeep.flows.scan_first import scan_first
        from vmkeep.flows.stopping import Stop
        from vmkeep_airflow.scanners import own_scanners

        self._stop = Stop()
        return scan_first(
            site,
            request,
            own_scanners(),
            on_progress=lambda volume: self.lines(volume, describe_share, in_bytes=False),
            tell=lambda line: self.log.info("%s", line),
            check=self._stop.check,
            by=f"DAG {own_dag_run(context['ti']).dag_id}",
            has_ended=has_ended(context["ti"]),
        )

    def on_kill(self) -> None:
        """Stop the scan, if one runs."""
        if self._stop is not None:
            self._stop.ask()


def request_from(params: Mapping[str, Any], own: Mapping[str, str]) -> RestoreRequest:
    """Return a request made of a run's params, with the run's key and owner. Empty fields are left out."""
    return make_request(**{name: value for name, value in params.items() if value not in ("", None)}, **own)
