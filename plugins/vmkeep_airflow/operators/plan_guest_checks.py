"""Divides the restore points whose guests are checked among tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.operators.choose_exports import points_announced


class PlanGuestChecksOperator(RepositoryOperator):
    """Find the points that the run's asset events name; in a run by hand, the VMs that a selector means.

    Only names are read, and the newest points where there is a selector. So the parts are small, whatever the fleet.

    :param selector: the VMs to check, as restore points know them; empty: all. Templated.
    :param all_points: check all points of these VMs, and not only the newest. Templated.
    :param mark: mark points that contradict themselves as suspect. Templated.
    :returns: an ``LvmRequest`` as a dict for each part.
    :raises AirflowSkipException: there is nothing to check.
    """

    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "selector", "all_points", "mark")

    def __init__(self, *, selector: Any = None, all_points: Any = False, mark: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.selector = selector
        self.all_points = all_points
        self.mark = mark

    def step(self, context: Context) -> Any:
        """Divide the work."""
        from vmkeep.flows.lvm_checks import LvmRequest, divide
        from vmkeep.flows.repositories import open_site_repository

        request = LvmRequest(
            selector=self.selector or "", all_points=bool(self.all_points), mark=bool(self.mark), record=True
        )
        with open_site_repository(self.site()) as repository:
            parts = divide(repository, request, announced=points_announced(context))
        if not parts:
            raise AirflowSkipException("there is no restore point to check")
        self.log.info("%s to check", counted(sum(len(part.refs or part.keys or ()) for part in parts), "VM"))
        return [to_plain(part) for part in parts]
