"""Removing what dead workers left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.sdk import Context

from vmkeep.errors import TransientError, VmKeepError
from vmkeep_airflow.leftovers import Verdict, judged
from vmkeep_airflow.operators.base import SiteOperator


class SweepSnapshotsOperator(SiteOperator):
    """Remove the snapshots of runs that have ended, on every VM of a vCenter.

    Airflow itself says whether a run has ended. A snapshot whose run this Airflow does not know (the command line's,
    another Airflow's, or a deleted run's) is removed only when its copies are silent and it is old.

    :param given_up_after_hours: that age. Templated.
    :returns: how many were removed, in use, and unknown.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "given_up_after_hours")

    def __init__(self, *, given_up_after_hours: float = 48, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.given_up_after_hours = given_up_after_hours

    def step(self, context: Context) -> Any:
        """Look at every snapshot; one that cannot be removed does not keep the others."""
        from vmkeep.flows import backup

        site = self.site()
        counts = dict.fromkeys(Verdict, 0)
        failed = []
        after = timedelta(hours=float(self.given_up_after_hours))
        for found, verdict in judged(site, context, given_up_after=after):
            counts[verdict] += 1
            self.log.info("VM %s: snapshot %s of run %s: %s", found.vm_name, found.snapshot, found.run, verdict)
            if verdict is Verdict.REMOVE:
                try:
                    backup.remove_snapshot(site, found.vm, found.run)
                except VmKeepError as error:
                    self.log.warning("VM %s: %s", found.vm_name, error)
                    failed.append(found.vm_name)
        if failed:
            raise TransientError(f"leftover snapshots could not be removed from: {', '.join(failed)}")
        return {str(verdict): count for verdict, count in counts.items()}
