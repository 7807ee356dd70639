"""Verifies a new restore point, all of it or a sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import Context

from vmkeep.flows.backup_values import Sealed
from vmkeep.model.job import to_plain
from vmkeep.model.wording import size
from vmkeep_airflow.operators.base import SiteOperator


class VerifyOperator(SiteOperator):
    """Read blocks of a restore point back, and compare them with their digests.

    :param sealed: a ``Sealed`` as a dict. Templated.
    :param sample: the share of blocks to read, from 0 (structure only) to 1 (all). Templated.
    :returns: the ``VerifyReport`` as a dict.
    """

    template_fields: Sequence[str] = (*SiteOperator.template_fields, "sealed", "sample")

    def __init__(self, *, sealed: Any, sample: Any = 0.05, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sealed = sealed
        self.sample = sample

    def step(self, context: Context) -> Any:
        """Verify the point."""
        from vmkeep.flows import backup

        sealed = self.handed("sealed", Sealed, by="catalog")
        report = backup.verify_point(self.site(), sealed.point, sample=float(self.sample))
        self.log.info(
            "%s: %d blocks, %s, checked in %.1f s",
            report.point,
            report.blocks_checked,
            size(report.bytes_checked),
            report.seconds,
        )
        return to_plain(report)
