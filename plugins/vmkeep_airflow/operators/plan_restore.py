"""The first step of a restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.values import OnConflict, RestoreRequest
from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.run_key import Owner


class PlanRestoreOperator(SiteOperator):
    """Decide which disk goes where, and find out everything that could stop it, before anything is changed.

    ``on_conflict`` may be ``prompt``: the plan is made as for ``overwrite``, and ``ApproveRestoreOperator`` asks.

    :param request: the fields of a ``RestoreRequest`` but its run key. Templated.
    :returns: the ``RestorePlan`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def step(self, context: Context) -> Any:
        """Plan, and show the plan."""
        from vmkeep.flows import restore

        ti = context["ti"]
        run = Owner(dag_id=ti.dag_id, run_id=ti.run_id).run_key(ti.try_number)
        given = {name: value for name, value in self.request.items() if value != ""}  # a form's empty field
        request = from_plain(RestoreRequest, {**given, "run": run})
        if request.on_conflict is OnConflict.PROMPT:
            request = replace(request, on_conflict=OnConflict.OVERWRITE)
        plan = restore.plan_restore(self.site(), request)
        self.warn(plan.warnings)
        where = plan.over.in_full if plan.over else f"a new VM, {plan.target_name}"
        self.log.info("%s, taken of %s, goes to %s", plan.point, plan.vm.in_full, where)
        for match in plan.matches:
            what = "written" if match.written else "not written"
            self.log.info("%s (%s): %s %s", match.disk.label, match.disk.address, what, match.note)
        return to_plain(plan)
