"""Leaving nothing half made behind a restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import from_plain
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import ReadyTarget


class CleanUpRestoreOperator(SiteOperator):
    """Remove a temporary snapshot and a new VM that was not finished; the teardown of ``PrepareTargetOperator``.

    :param ready: a ``ReadyTarget`` as a dict. Templated.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "ready")

    def __init__(self, *, ready: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ready = ready

    def step(self, context: Context) -> None:
        """Clean up; nothing to do after a restore that was finished."""
        from vmkeep.flows import restore

        removed = restore.clean_up(self.site(), from_plain(ReadyTarget, self.ready).plan.request.run)
        if removed:
            self.log.warning("removed %d VM(s) that were begun and not finished", removed)
