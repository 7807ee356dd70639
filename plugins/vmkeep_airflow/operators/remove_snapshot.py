"""Letting the VM go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.model.job import from_plain, to_plain
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import HeldStill


class RemoveSnapshotOperator(SiteOperator):
    """Remove the run's snapshot; the teardown of ``SnapshotOperator``.

    Airflow may start it while killed copies are still alive: they are fenced, and waited for, first.

    :param held: a ``HeldStill`` as a dict. Templated.
    :returns: the ``Removal`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "held")

    def __init__(self, *, held: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held = held

    def step(self, context: Context) -> Any:
        """Fence, remove, consolidate; fail if anything is left."""
        from vmkeep.flows import backup

        held = from_plain(HeldStill, self.held)
        removal = backup.remove_snapshot(self.site(), held.taken.vm, held.preflight.request.run)
        self.log.info(
            "%d snapshot(s) removed, %d copies had to be fenced", removal.snapshots_removed, removal.copies_fenced
        )
        return to_plain(removal)
