"""Extends the locks of a bucket as long as restore points need the locked blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep_airflow.operators.base import UpkeepOperator

_LINES = 1000
"""Blobs that get a line each."""


class ExtendLocksOperator(UpkeepOperator):
    """Extend the locks of blobs that restore points need, where less than half of the time is left.

    Does nothing on a repository without locks. Safe to repeat.

    :param plan_only: do nothing. Templated.
    :returns: ``locks``: whether the repository has any; if it has and this is no dry run, how many were ``extended``
        and ``kept``.
    :raises AirflowFailException: somebody else has deleted or overwritten blobs, some are missing, or nobody can say
        what points need. All locks that points may need were extended all the same.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "plan_only")

    def __init__(self, *, plan_only: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_only = plan_only

    def step(self, context: Context) -> Any:
        """Extend."""
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep.flows.upkeep import keep_locks, require_kept

        with open_site_repository(self.site()) as repository:
            locked = repository.descriptor.lock is not None
            if self.plan_only or not locked:
                return {"locks": locked}
            report, unknown = keep_locks(repository, on_progress=self.follow("locks"))
        self.log.info("%d locks extended, %d hold for half of their time or longer", report.extended, report.kept)
        for key in report.hidden[:_LINES]:
            self.log.error("%s: was deleted or overwritten by somebody else; the original is there", key)
        for key in report.missing[:_LINES]:
            self.log.error("%s: is needed, and not there", key)
        require_kept(repository.location, report, unknown)
        return {"locks": True, "extended": report.extended, "kept": report.kept}
