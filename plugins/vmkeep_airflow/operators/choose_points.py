"""Finds the restore points that a person wants verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.errors import UsageError
from vmkeep.model.job import to_plain
from vmkeep.model.wording import counted
from vmkeep_airflow.operators.base import RepositoryOperator


class ChoosePointsOperator(RepositoryOperator):
    """Find the points that are named, or the newest point of each VM that a selector fits.

    :param request: the params of a ``verify_points`` run: ``points``, ``selector``, and fields of a ``CheckJob``.
        Templated.
    :returns: a ``CheckJob`` as a dict for each point.
    """

    template_fields: Sequence[str] = (*RepositoryOperator.template_fields, "request")

    def __init__(self, *, request: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.request = request

    def step(self, context: Context) -> Any:
        """Find them all before the first one is checked, so that a name that fits none wastes no hours."""
        from vmkeep.flows.policy_checks import jobs_for
        from vmkeep.flows.repositories import open_site_repository

        given = dict(self.request)
        points, selector = given.pop("points", None) or [], (given.pop("selector", None) or "").strip()
        if bool(points) == bool(selector):
            raise UsageError(
                "fill in one of two fields: 'Restore points' (points), e.g. latest:app01, or 'Or VMs' (selector), e.g. "
                f"name:db*; {'both are filled in' if points else 'both are empty'}"
            )
        with open_site_repository(self.site()) as repository:
            jobs = jobs_for(repository, points, selector, **given)
        self.log.info("%s to verify", counted(len(jobs), "point"))
        return [to_plain(job) for job in jobs]
