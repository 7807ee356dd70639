"""Copies a policy's restore points to one of its second repositories."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context, XComArg

from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.wording import counted, size
from vmkeep.policy import Due, Policy
from vmkeep_airflow.operators.base import UpkeepOperator
from vmkeep_airflow.windowreports import COPIES

if TYPE_CHECKING:
    from vmkeep.flows.windows import WindowPlan


class CopyPointsOperator(UpkeepOperator):
    """Bring the policy's points that a second repository lacks to it, until the next window opens.

    It is safe to repeat, because a point is copied once. Points that did not arrive follow in the next window.

    :param policy: name of the policy.
    :param target_conn_id: Airflow connection to the second repository. Templated.
    :param plan: the ``WindowPlan``, from ``plan``; ``None``: the plan failed. Templated.
    :returns: the ``PolicyCopies`` as a dict.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "target_conn_id", "plan")

    def __init__(self, *, policy: str, target_conn_id: str, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.policy = policy
        self.target_conn_id = target_conn_id
        self.plan = plan

    def step(self, context: Context) -> Any:
        """Choose the points, and copy them."""
        from vmkeep.flows.catalogued import open_with_catalog
        from vmkeep.flows.policy_copies import PolicyCopies, copy_until, points_to_copy
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep_airflow.site import repository_site

        plan = self._plan()
        if plan is not None and plan.due is Due.SUPERSEDED:
            return to_plain(PolicyCopies(target=self.target_conn_id))
        with (
            open_with_catalog(self.site()) as source,
            open_site_repository(repository_site(self.target_conn_id)) as target,
        ):
            refs = points_to_copy(source, target, self.policy)
            self.log.info("%s to copy from %s to %s", counted(len(refs), "point"), source.location, target.location)
            done = copy_until(
                source,
                target,
                refs,
                policy=self.policy,
                name=self.target_conn_id,
                until=plan.next_opens_at if plan else None,
                on_progress=self.follow("copies"),
            )
        self.warn([f"{ref} could not be copied: {why}" for ref, why in done.failed.items()])
        self.warn([f"{ref} waits for the next window, because it opens" for ref in done.left])
        self.log.info("%s copied, %s stored", counted(done.copied, "point"), size(done.bytes_stored))
        return to_plain(done)

    def _plan(self) -> WindowPlan | None:
        from vmkeep.flows.windows import WindowPlan

        return None if self.plan is None else from_plain(WindowPlan, self.plan)


def make_copies(policy: Policy, plan: XComArg) -> list[Any]:
    """Make the task of a window that serves each second repository of a policy; nothing if the policy has none."""
    if not policy.copies:
        return []
    task = CopyPointsOperator.partial(
        task_id=COPIES,
        policy=policy.name,
        plan=plan,
        repository_conn_id=policy.repository,
        map_index_template="{{ task.target_conn_id }}",
        trigger_rule="all_done",  # points of an earlier window may wait, whatever became of this one
        retry_exponential_backoff=2.0,
        execution_timeout=timedelta(hours=24),
    )
    return [task.expand(target_conn_id=list(policy.copies))]
