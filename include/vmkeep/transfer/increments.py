"""Decides in the child process whether a planned increment is built, after its audit, or the disk is read in full."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from vmkeep.errors import NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.audit import Audit
from vmkeep.model.disk import Disk
from vmkeep.model.extents import Extent, Extents
from vmkeep.model.fullreason import FullRead, FullReason
from vmkeep.model.job import Cursor, DiskJob, Progress
from vmkeep.model.point import BackupKind, RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer.auditing import Checked, OnceAllocated, check_increment
from vmkeep.transfer.progress import OnProgress

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The way in which a disk is read, which an audit may have changed."""

    extents: Sequence[Extent] | None
    """The changed extents; ``None``: the whole disk is read."""
    also: Extents
    """Extents to read besides, which were trimmed although vSphere does not call them changed."""
    parent_root: str | None
    kind: BackupKind
    reason: str
    full_reason: FullReason | None
    audit: Audit | None
    suspects: tuple[str, ...]
    cursor: Cursor | None
    """The position of an earlier try, if that try read the disk in the same way."""

    def noted(self, report: OnProgress) -> OnProgress:
        """Return a reporter whose cursors hold the audit's outcome, so that a retry need not repeat it."""

        def note(progress: Progress) -> None:
            if progress.cursor is not None:
                progress = replace(progress, cursor=replace(progress.cursor, audit=self.audit))
            report(progress)

        return note


def decide_reading(
    job: DiskJob,
    source: OnceAllocated,
    repository: Repository,
    *,
    extents: Sequence[Extent] | None,
    cursor: Cursor | None,
    on_progress: OnProgress,
    check: Callable[[], None],
) -> Reading:
    """Audit a planned increment. If it cannot be trusted, mark the points that may be wrong, and read the disk in full.

    The full read is done at once and from the same snapshot, because the VM would have no good point until its next
    backup otherwise.
    """
    found = Checked()
    if extents is not None and job.parent_root is not None:
        found = check_increment(
            source,
            repository,
            plan=job.audit,
            done=cursor.audit if cursor is not None and cursor.snapshot == job.snapshot else None,
            changed=extents,
            parent=job.parent or "the last restore point",
            parent_root=job.parent_root,
            piece_size=job.piece_size,
            depth=job.depth,
            on_progress=on_progress,
            check=check,
        )
    same = cursor is not None and cursor.audit == found.audit
    if found.full is not None:
        return _full(job, repository, found, found.full, cursor if same and found.audit is not None else None)
    return Reading(
        extents=extents,
        also=found.trimmed,
        parent_root=job.parent_root,
        kind=job.kind,
        reason=job.reason,
        full_reason=job.full_reason,
        audit=found.audit,
        suspects=(),
        cursor=cursor if same else None,
    )


def _full(job: DiskJob, repository: Repository, found: Checked, full: FullRead, cursor: Cursor | None) -> Reading:
    suspects: tuple[str, ...] = ()
    if full.reason is FullReason.TRACKING_LIED:
        suspects = suspect_chain(repository, job.parent, job.disk, reason=full.text) if job.parent else ()
        log.error("VM %s, %s: %s; the disk is read in full now", job.vm.name, job.disk.label, full.text)
        for ref in suspects:
            log.error("%s is marked suspect: %s may lack changes in it", ref, job.disk.label)
    else:
        log.warning("VM %s, %s: read in full: %s", job.vm.name, job.disk.label, full.text)
    return Reading(
        extents=None,
        also=Extents(),
        parent_root=None,
        kind=BackupKind.FULL,
        reason=full.text,
        full_reason=full.reason,
        audit=found.audit,
        suspects=suspects,
        cursor=cursor,
    )


def suspect_chain(repository: Repository, parent: str, disk: Disk, *, reason: str) -> tuple[str, ...]:
    """Mark the points whose content of a disk rests on change tracking that has lied. Return their refs.

    Nobody knows when the change was left out. So all increments of the disk are marked from the parent back to the last
    point that read the disk in full; that point is good.

    :param parent: ref of the point with which the disk was compared.
    """
    try:
        last = repository.load_point(parent)
    except NotFoundError:
        return ()
    suspects = []
    for read in repository.newest_first(last.vm.key):
        point = read.point
        if point is None or point.ref > last.ref or _other(point, last):
            continue
        image = point.image_of(disk)
        if image is None or image.kind is BackupKind.FULL:
            break
        try:
            repository.marks.suspect(point.ref, disk.label, reason=reason)
        except NotFoundError:
            continue  # because it was forgotten meanwhile
        suspects.append(point.ref)
    return tuple(suspects)


def _other(point: RestorePoint, last: RestorePoint) -> bool:
    """Return whether a point of the same history is of another VM, e.g. of a copy that kept the UUIDs."""
    return (point.vm.vcenter, point.vm.moref) != (last.vm.vcenter, last.vm.moref)
