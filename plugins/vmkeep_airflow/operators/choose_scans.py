"""Chooses the restore points that are scanned for malware now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.errors import UsageError
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.operators.choose_exports import points_announced
from vmkeep_airflow.states import PROBLEMS, skip_itself


class ChooseScansOperator(RepositoryOperator):
    """Find the points that the run's asset events or its params name.

    Points that cannot be read are left as problems for the last task, so that the others are scanned before it fails.

    :param policy: the policy whose points are scanned after their backups; ``None``: the params name the points.
    :param request: the params ``points`` and ``selector`` of a run by hand. Templated.
    :returns: point and VM of each, as a dict.
    :raises AirflowSkipException: there is nothing to scan.
    """

    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "request")

    def __init__(
        self, *, policy: Policy | None = None, request: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.policy = policy
        self.request = request

    def step(self, context: Context) -> Any:
        """Choose them, and leave a problem for each point that cannot be scanned."""
        from vmkeep.flows.policy_scans import scans_asked_for, scans_due
        from vmkeep.flows.repositories import open_site_repository

        with open_site_repository(self.site()) as repository:
            if self.policy is not None:
                due = scans_due(repository, self.policy, points_announced(context))
            else:
                asked = self.request or {}
                if not asked.get("points") and not asked.get("selector"):
                    raise UsageError(
                        "fill in one of these two fields, or both: 'Restore points' (points), e.g. latest:app01, or "
                        "'VMs' (selector), e.g. name:web*; both are empty"
                    )
                due = scans_asked_for(repository, asked.get("points") or (), asked.get("selector") or None)
        self.warn(due.left)
        if due.left:
            context["ti"].xcom_push(key=PROBLEMS, value=list(due.left))
        if not due.scans:
            skip_itself(
                context, "there is no point that can be scanned" if due.left else "there is no new point to scan"
            )
        self.log.info("%s to make", counted(len(due.scans), "scan"))
        return [to_plain(scan) for scan in due.scans]
