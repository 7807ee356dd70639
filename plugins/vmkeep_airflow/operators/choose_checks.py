"""Chooses the restore points of a policy that are checked now, and the checks that are due."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.operators.choose_exports import points_announced
from vmkeep_airflow.states import skip_itself


class ChooseChecksOperator(RepositoryOperator):
    """Find the policy's points among those that the run's asset events name; in a run by hand, each VM's newest point.

    :param policy: the policy, with its ``verification``.
    :returns: a ``CheckJob`` as a dict for each VM of which a check is due.
    :raises AirflowSkipException: no check is due.
    """

    def __init__(self, *, policy: Policy, **kwargs: Any) -> None:
        super().__init__(repository_conn_id=policy.repository, **kwargs)
        self.policy = policy

    def step(self, context: Context) -> Any:
        """Choose them, and log which points are left out, and why."""
        from vmkeep.flows.policy_checks import checks_due
        from vmkeep.flows.repositories import open_site_repository

        refs = points_announced(context)
        with open_site_repository(self.site()) as repository:
            due = checks_due(repository, self.policy, refs)
        self.warn(due.left)
        if not due.jobs:
            skip_itself(context, f"policy {self.policy.name} has no new point whose check is due")
        self.log.info("%s to check", counted(len(due.jobs), "point"))
        return [to_plain(job) for job in due.jobs]
