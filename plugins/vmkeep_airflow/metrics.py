"""Counts backups, restores, windows and notices for Airflow's metrics. Where these are off, nothing is sent.

Airflow sends the tags to some systems only, so what there are few of is part of a name: reasons and transport modes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.observability import stats

if TYPE_CHECKING:
    from vmkeep.flows.backup_values import Sealed
    from vmkeep.flows.restore_values import Restored
    from vmkeep.model.job import DiskCopy

log = logging.getLogger(__name__)


def send_backup(sealed: Sealed, copies: Sequence[DiskCopy], *, lasted: timedelta | None, policy: str | None) -> None:
    """Count a sealed point.

    :param lasted: the time from the start of the run to the seal; ``None``: nobody knows.
    """
    tags = {"policy": policy or "none"}
    with _harmless():
        for name, count in _counts(sealed, copies):
            if count:
                stats.incr(f"vmkeep.{name}", count, tags=tags)
        for copy in copies:
            stats.timing("vmkeep.copy_seconds", timedelta(seconds=copy.seconds), tags=tags)
            if copy.cpu_seconds is not None:
                stats.timing("vmkeep.copy_cpu_seconds", timedelta(seconds=copy.cpu_seconds), tags=tags)
        if lasted is not None:
            stats.timing("vmkeep.backup_seconds", lasted, tags=tags)


def send_restore(restored: Restored, *, lasted: timedelta | None) -> None:
    """Count a restore that is finished.

    :param lasted: the time from the start of the run to the hand-over of the VM; ``None``: nobody knows.
    """
    with _harmless():
        stats.incr("vmkeep.restores", 1)
        stats.incr("vmkeep.restore_bytes_written", restored.bytes_written)
        if lasted is not None:
            stats.timing("vmkeep.restore_seconds", lasted)


def send_window(policy: str, report: Mapping[str, Any]) -> None:
    """Set the numbers of a window's VMs, by how their backups ended.

    :param report: as :func:`vmkeep_airflow.windowreports.report_of` makes it.
    """
    with _harmless():
        for word, names in report.items():
            if isinstance(names, list):
                stats.gauge(f"vmkeep.window_vms.{word.replace(' ', '-')}", len(names), tags={"policy": policy})


def send_overdue(policy: str, vms: int) -> None:
    """Set the number of VMs that are older than their policy allows."""
    with _harmless():
        stats.gauge("vmkeep.overdue_vms", vms, tags={"policy": policy})


def send_unproved(what: str, vms: int) -> None:
    """Set the number of VMs that were not proved in time.

    :param what: ``plan NAME`` or ``policy NAME``.
    """
    with _harmless():
        stats.gauge("vmkeep.unproved_vms", vms, tags={"of": what.replace(" ", ":")})


def send_notice(kind: str) -> None:
    """Count a message to people."""
    with _harmless():
        stats.incr(f"vmkeep.notices.{kind}", 1)


@contextmanager
def _harmless() -> Iterator[None]:
    """Log a failure of the body only, because the work is good whatever becomes of its numbers."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a metrics system
        log.warning("numbers are missing in Airflow's metrics: %s", error)


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
