"""Leaving nothing half made behind a restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.values import RestorePlan
from vmkeep.model.job import from_plain
from vmkeep_airflow.operators.base import SiteOperator


class CleanUpRestoreOperator(SiteOperator):
    """Remove a temporary snapshot and a new VM that was not finished; the teardown of ``PrepareTargetOperator``.

    :param plan: a ``RestorePlan`` as a dict. Templated.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "plan")

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def step(self, context: Context) -> None:
        """Clean up; nothing to do after a restore that was finished."""
        from vmkeep.flows import restore

        removed = restore.clean_up(self.site(), from_plain(RestorePlan, self.plan).request.run)
        if removed:
            self.log.warning("removed %d VM(s) that were begun and not finished", removed)
