"""Extends the object locks in a bucket while restore points need the locked blobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep_airflow.operators.base import UpkeepOperator

_LINES = 1000
"""Greatest number of blobs that are logged, one line each."""


class ExtendLocksOperator(UpkeepOperator):
    """Extend the locks of blobs that restore points need, if less than half of their time is left.

    On a repository without locks it does nothing. It is safe to repeat.

    :param plan_only: do nothing. Templated.
    :returns: ``locks``: whether the repository has locks. If it has and this is no dry run, also the numbers of locks
        that were ``extended`` and ``kept``.
    :raises AirflowFailException: blobs were deleted or overwritten by somebody else, or are missing, or the packs that
        points need are not known. Even then all locks that points may need were extended.
    """

    template_fields: Sequence[str] = (*UpkeepOperator.template_fields, "plan_only")

    def __init__(self, *, plan_only: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan_only = plan_only

    def step(self, context: Context) -> Any:
        """Extend the locks."""
        from vmkeep.flows.repositories import open_site_repository
        from vmkeep.flows.upkeep import keep_locks, require_kept

        with open_site_repository(self.site()) as repository:
            locked = repository.descriptor.lock is not None
            if self.plan_only or not locked:
                return {"locks": locked}
            report, unknown = keep_locks(repository, on_progress=self.follow("locks"))
        self.log.info("%d locks extended, %d hold for half of their time or longer", report.extended, report.kept)
        for key in report.hidden[:_LINES]:
            self.log.error("%s: was deleted or overwritten by somebody else; the store still has the original", key)
        for key in report.missing[:_LINES]:
            self.log.error("%s: is needed by a restore point, and missing", key)
        require_kept(repository.location, report, unknown)
        return {"locks": True, "extended": report.extended, "kept": report.kept}
