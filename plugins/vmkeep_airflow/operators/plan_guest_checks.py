"""Divides the restore points whose guests are checked among tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.operators.choose_exports import repositories_announced
from vmkeep_airflow.states import skip_itself


class PlanGuestChecksOperator(RepositoryOperator):
    """Find the points that the run's asset events name; in a run by hand, the VMs that a selector means.

    Only names are read, and the newest points where there is a selector. So the parts are small, whatever the fleet.
    Points that events name are looked for in the repository that the event tells, else in that of the run.

    :param selector: the VMs to check, as restore points know them; empty: all. Templated.
    :param all_points: check all points of these VMs, and not only the newest. Templated.
    :param mark: mark points that contradict themselves as suspect. Templated.
    :returns: for each part an ``LvmRequest`` as a dict, in ``request``, and its ``repository_conn_id``.
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
        from vmkeep_airflow.site import repository_site

        request = LvmRequest(
            selector=self.selector or "", all_points=bool(self.all_points), mark=bool(self.mark), record=True
        )
        announced: Mapping[str, set[str] | None] | None = repositories_announced(context)
        if announced is None:  # not if events tell of no point: such a run has nothing to check
            announced = {self.repository_conn_id: None}
        found, vms = [], 0
        for named, refs in announced.items():
            conn_id = named or self.repository_conn_id
            with open_site_repository(repository_site(conn_id)) as repository:
                parts = divide(repository, request, announced=refs)
            vms += sum(len(part.refs or part.keys or ()) for part in parts)
            found += [{"request": to_plain(part), "repository_conn_id": conn_id} for part in parts]
        if not found:
            skip_itself(context, "there is no restore point to check")
        self.log.info("%s to check", counted(vms, "VM"))
        return found
