"""The VM that a restore writes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowTaskTerminated

from vmkeep.errors import VmKeepError
from vmkeep.flows.values import RestorePlan
from vmkeep.model.job import from_plain, to_plain
from vmkeep.model.site import Site
from vmkeep_airflow.operators.base import SiteOperator


class PrepareTargetOperator(SiteOperator):
    """Create the new VM, or power the existing one off. A setup task: ``CleanUpRestoreOperator`` is its teardown.

    Airflow does not run the teardown of a setup that failed; so this task itself removes what it half made.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    :returns: the ``Target`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def step(self, context: Context) -> Any:
        """Prepare."""
        from vmkeep.flows import restore

        site = self.site()
        plan = from_plain(RestorePlan, self.plan)
        try:
            target = restore.prepare_target(site, plan)
        except BaseException:
            self._clean_up(site, plan)
            raise
        self.log.info("%s %s", "created VM" if target.created else "powered off VM", target.vm)
        return to_plain(target)

    def _clean_up(self, site: Site, plan: RestorePlan) -> None:
        from vmkeep.flows import restore

        try:
            restore.clean_up(site, plan.request.run)
        except VmKeepError as error:
            self.log.warning("VM %s may be left half made: %s", plan.target_name, error)

    def on_kill(self) -> None:
        """Break off the wait for vSphere, so that what was begun is removed before this process dies."""
        raise AirflowTaskTerminated("stopped while the target was being prepared")
