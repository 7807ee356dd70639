"""Seals a restore point, with which it exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.clock import now
from vmkeep.model.fullreason import FullReason
from vmkeep.model.job import DiskCopy, to_plain
from vmkeep.model.wording import size
from vmkeep_airflow.links import TO_VM_AND_POINT
from vmkeep_airflow.metrics import send_backup
from vmkeep_airflow.operators.base import SiteOperator
from vmkeep_airflow.steps import HeldStill
from vmkeep_airflow.xcoms import handed


class CatalogOperator(SiteOperator):
    """Seal the restore point and enter it into the catalog.

    :param held: a ``HeldStill`` as a dict. Templated.
    :param copies: the ``DiskCopy`` of each disk as a dict. Templated.
    :returns: the ``Sealed`` as a dict.
    :raises AirflowFailException: the copies come from several snapshots, e.g. because one of them was cleared.
    """

    operator_extra_links = TO_VM_AND_POINT
    template_fields: Sequence[str] = (*SiteOperator.template_fields, "held", "copies")

    def __init__(self, *, held: Any, copies: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.held = held
        self.copies = copies

    def step(self, context: Context) -> Any:
        """Seal the point."""
        from vmkeep.flows import backup

        held = self.handed("held", HeldStill, by="snapshot")
        left = () if self.copies is None else self.copies[:]  # because one by one, each copy is a request
        copies = tuple(handed(copy, DiskCopy, by="copy_disk") for copy in left)
        sealed = backup.seal(self.site(), held.preflight, held.taken, copies)
        self.warn(sealed.warnings)
        self.log.info(
            "sealed %s: %d disks copied, %d skipped, %s",
            sealed.point,
            sealed.disks_copied,
            sealed.disks_skipped,
            sealed.consistency,
        )
        for reason, count in sealed.full_reads.items():
            self.log.info("read in full: %d because %s", count, FullReason(reason).why)
        self.log.info("audited %s of unchanged data", size(sealed.bytes_audited))
        if sealed.lies:
            self.log.error(
                "change tracking lied about %d blocks; suspect points: %s", sealed.lies, ", ".join(sealed.suspects)
            )
        begun: Any = context["dag_run"].start_date
        send_backup(sealed, copies, lasted=now() - begun if begun else None, policy=held.preflight.request.policy)
        return to_plain(sealed)
