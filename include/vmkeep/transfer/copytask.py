"""The verb ``copy`` of a child process: reads one disk, and stores it."""

from __future__ import annotations

import logging

from vmkeep.errors import StaleError
from vmkeep.model.blockio import DiskSource
from vmkeep.model.job import Cursor, DiskCopy, DiskJob, from_plain
from vmkeep.transfer.auditing import OnceAllocated
from vmkeep.transfer.childtask import ChildTask
from vmkeep.transfer.increments import decide_reading
from vmkeep.transfer.permitted import permitted
from vmkeep.transfer.storing import back_up_disk

log = logging.getLogger(__name__)


def copy(task: ChildTask) -> DiskCopy:
    """Copy the disk of the request into the repository.

    :raises StaleError: the disk has another capacity than the plan says.
    """
    request = task.request
    job = from_plain(DiskJob, request.job)
    cursor = from_plain(Cursor, request.cursor) if request.cursor else None
    with task.open_repository() as repository:
        area = repository.run(job.run)
        extents = area.load_extents(job.extents) if job.extents else None
        name, what = f"disk-{job.disk.key}", f"copy of {job.vm.name} {job.disk.label}"
        with (
            area.open_lease(name) as lease,
            permitted(repository, job.limits, run=job.run, lease=name, what=what) as settle,
            task.access.open_source(job) as source,
        ):
            settle(source.transport)
            _require_planned(job, source)
            check = task.check_with(lease.check)
            once = OnceAllocated(source)
            reading = decide_reading(
                job, once, repository, extents=extents, cursor=cursor, on_progress=task.report, check=check
            )
            stored = back_up_disk(
                once,
                repository,
                run=job.run,
                begun=job.begun or None,
                extents=reading.extents,
                also=reading.also,
                parent_root=reading.parent_root,
                cursor=reading.cursor,
                snapshot=job.snapshot,
                piece_size=_at_most(job.piece_size, task.access.limits.largest_piece),
                depth=_at_most(job.depth, task.access.limits.most_in_flight),
                on_progress=reading.noted(task.report),
                check=check,
            )
            transport = source.transport
    return DiskCopy(
        run=job.run,
        begun=job.begun,
        snapshot=job.snapshot,
        disk=job.disk,
        root=stored.root,
        kind=reading.kind,
        reason=reading.reason,
        change_id=job.change_id,
        extents=stored.extents_root,
        extents_size=stored.extents_size,
        bytes_read=stored.bytes_read,
        bytes_stored=stored.bytes_stored,
        seconds=stored.seconds,
        transport=transport,
        resumed_at=stored.resumed_at,
        full_reason=reading.full_reason,
        audit=reading.audit,
        suspects=reading.suspects,
        access=task.used(transport, job.transports, job.why_transports),
        lun=job.lun,
    )


def _require_planned(job: DiskJob, source: DiskSource) -> None:
    """Return if the open disk is as it was planned, and log the way in which it is read."""
    if source.capacity != job.disk.capacity:
        raise StaleError(
            f"{job.vm.name} {job.disk.label}: the disk has {source.capacity} bytes, not {job.disk.capacity} "
            "as planned; plan again"
        )
    why = f" ({job.why_transports})" if job.why_transports else ""
    log.info("%s %s: reading by %s%s", job.vm.name, job.disk.label, source.transport, why)


def _at_most(asked: int, limit: int | None) -> int:
    return asked if limit is None else min(asked, limit)
