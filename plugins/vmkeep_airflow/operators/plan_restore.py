"""Plans a restore, as its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.restore_request import OnConflict, RestoreRequest, make_request
from vmkeep.model.job import to_plain
from vmkeep_airflow.dagruns import has_ended, own_dag_run, owner_text
from vmkeep_airflow.operators.base import SiteOperator


class PlanRestoreOperator(SiteOperator):
    """Match the disks with their targets, and find all that could stop the restore, before anything is changed.

    If ``on_conflict`` is ``prompt``, the plan is made as for ``overwrite``, and ``ApproveRestoreOperator`` asks.

    :param request: the params of a ``vm_restore`` run: fields of a ``RestoreRequest``, but ``vm`` for its selector.
        Templated.
    :returns: the ``RestorePlan`` as a dict. All later steps carry out this plan, or nothing.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def step(self, context: Context) -> Any:
        """Make the plan, and log it."""
        from vmkeep.flows import restore
        from vmkeep.flows.restore_wording import plan_lines

        ti = context["ti"]
        owner = own_dag_run(ti)
        own = {"run": owner.run_key(ti.try_number), "owner": owner_text(owner)}
        request = request_from(self.request, own)
        if request.on_conflict is OnConflict.PROMPT:
            request = replace(request, on_conflict=OnConflict.OVERWRITE)
        plan = restore.plan_restore(self.site(), request, has_ended=has_ended(ti))
        self.warn(plan.warnings)
        for line in plan_lines(plan):
            self.log.info("%s", line)
        return to_plain(plan)


def request_from(params: Mapping[str, Any], own: Mapping[str, str]) -> RestoreRequest:
    """Return a request made of a run's params, with the run's key and owner. Empty fields are left out."""
    return make_request(**{name: value for name, value in params.items() if value not in ("", None)}, **own)
