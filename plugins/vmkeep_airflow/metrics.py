"""Counts backups for Airflow's metrics. Where Airflow's metrics are off, nothing is sent.

Airflow sends the tags to some systems only, so what there are few of is part of a name: reasons and transport modes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from vmkeep.flows.backup_values import Sealed
    from vmkeep.model.job import DiskCopy

log = logging.getLogger(__name__)


def send_backup(sealed: Sealed, copies: Sequence[DiskCopy], *, lasted: timedelta | None, policy: str | None) -> None:
    """Count a sealed point. A failure is only logged, because the point is good whatever becomes of its numbers.

    :param lasted: the time from the start of the run to the seal; ``None``: nobody knows.
    """
    tags = {"policy": policy or "none"}
    try:
        for name, count in _counts(sealed, copies):
            if count:
                stats.incr(f"vmkeep.{name}", count, tags=tags)
        for copy in copies:
            stats.timing("vmkeep.copy_seconds", timedelta(seconds=copy.seconds), tags=tags)
            if copy.cpu_seconds is not None:
                stats.timing("vmkeep.copy_cpu_seconds", timedelta(seconds=copy.cpu_seconds), tags=tags)
        if lasted is not None:
            stats.timing("vmkeep.backup_seconds", lasted, tags=tags)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a metrics system, the backup is good
        log.warning("the backup is not in Airflow's metrics: %s", error)


def _counts(sealed: Sealed, copies: Sequence[DiskCopy]) -> Iterator[tuple[str, int]]:
    yield "backups", 1
    yield "bytes_read", sealed.bytes_read
    yield "bytes_stored", sealed.bytes_stored
    yield "bytes_audited", sealed.bytes_audited
    yield "tracking_lies", sealed.lies
    yield "disks_skipped", sealed.disks_skipped
    for reason, count in sealed.full_reads.items():
        yield f"full_reads.{reason}", count
    for mode, count in Counter(copy.transport for copy in copies if copy.transport).items():
        yield f"transports.{mode}", count
    for (what, reason), count in Counter((change.what, change.reason) for change in sealed.changes).items():
        yield f"changes.{what}.{reason}", count
