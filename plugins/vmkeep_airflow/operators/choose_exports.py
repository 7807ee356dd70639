"""Chooses the restore points of a policy that are exported now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep.policy import Policy
from vmkeep_airflow.operators.base import RepositoryOperator
from vmkeep_airflow.states import LEFT, skip_itself


class ChooseExportsOperator(RepositoryOperator):
    """Find the policy's points among those that the run's asset events name; in a run by hand, each VM's newest point.

    :param policy: the policy, with its ``exports``.
    :returns: an ``ExportRequest`` as a dict for each VM and each place.
    :raises AirflowSkipException: there is nothing to export.
    """

    def __init__(self, *, policy: Policy, **kwargs: Any) -> None:
        super().__init__(repository_conn_id=policy.repository, **kwargs)
        self.policy = policy

    def step(self, context: Context) -> Any:
        """Choose them, and log which points are left out, and why."""
        from vmkeep.flows.policy_exports import exports_due
        from vmkeep.flows.repositories import open_site_repository

        refs = points_announced(context)
        with open_site_repository(self.site()) as repository:
            due = exports_due(repository, self.policy, refs)
        self.warn(due.left)
        if due.left:
            context["ti"].xcom_push(key=LEFT, value=list(due.left))
        if not due.requests:
            skip_itself(context, f"policy {self.policy.name} has no new point to export")
        self.log.info("%s to make", counted(len(due.requests), "export"))
        return [to_plain(request) for request in due.requests]


def repositories_announced(context: Context) -> dict[str, set[str]] | None:
    """Return the refs of the points whose events have started a run, by the connection to their repository.

    It is empty for events that tell of none. ``None``: a person has started the run.
    """
    events: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    extras = [event.extra or {} for of_asset in events.values() for event in of_asset]
    found: dict[str, set[str]] = {}
    for extra in extras:
        if "point" in extra:
            found.setdefault(str(extra.get("repository") or ""), set()).add(str(extra["point"]))
    return found if extras else None


def points_announced(context: Context) -> set[str] | None:
    """Return the refs of the points whose events have started a run; ``None``: a person has started it."""
    found = repositories_announced(context)
    return None if found is None else set().union(*found.values())
