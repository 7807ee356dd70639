"""Imports raw disk images in local files as one restore point, as if they were the disks of a VM."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.images.diskfiles import LocalFileSource
from vmkeep.images.formats import require_raw
from vmkeep.images.imagenames import check_name, image_key
from vmkeep.images.imageparents import find_parent, parent_image
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.extents import Extent
from vmkeep.model.job import Progress
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.wording import counted
from vmkeep.repository import Repository, point_id
from vmkeep.transfer import StoredDisk, back_up_disk
from vmkeep.transfer.progress import OnProgress

_FIRST_KEY = 2000
_PIECE = 1 << 20
_DEPTH = 4
_DISKS_PER_BUS = 15
_ADAPTERS_UNIT = 7


def import_images(
    repository: Repository,
    paths: Sequence[Path],
    *,
    name: str,
    extents: Sequence[Sequence[Extent] | None] | None = None,
    since: str | None = None,
    raw: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> RestorePoint:
    """Store raw disk images as one restore point, seal it and return it.

    :param extents: for each image, the extents that changed since the point ``since``; ``None``: read the whole image.
    :param since: the point that the extents are relative to: its ref, or the unique beginning of its id or ref. Only
        the caller knows it, because a step of the clock or another import may make another point the newest.
    :param raw: take the files for raw disks, even if they begin as another form of disk image does, because a disk may
        hold such a file from its first byte on.
    :raises UsageError: there is no image, a file is not raw, extents reach beyond the disk, or they cannot be relative
        to that point.
    :raises NotFoundError: there is no such point, or no such file.
    """
    if not paths:
        raise UsageError("no image is named")
    check_name(name)
    changed = tuple(extents) if extents is not None else (None,) * len(paths)
    if len(changed) != len(paths):
        raise UsageError(f"{counted(len(paths), 'image')}, but extents for {len(changed)}")
    for path in () if raw else paths:
        require_raw(path)
    parent = find_parent(repository, name, since, given=any(e is not None for e in changed))
    run = f"{image_key(name)}-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        sources = [stack.enter_context(LocalFileSource(path)) for path in paths]
        jobs = [
            _plan(source, path, number, extent, parent)
            for number, (source, path, extent) in enumerate(zip(sources, paths, changed, strict=True))
        ]
        begun = stack.enter_context(repository.at_work(run))
        if parent is not None:
            repository.load_point(parent.ref)  # to see that it is still there, because from now on a prune is noticed
        taken_at = now()
        report = _Together(on_progress, len(jobs))
        stored = [job.copy(source, repository, run, begun, report) for job, source in zip(jobs, sources, strict=True)]
        point = _described(run, name, taken_at, jobs, stored)
        repository.seal(point, begun=begun)
    return point


def _described(
    run: str, name: str, taken_at: datetime, jobs: Sequence[_ImageJob], stored: Sequence[StoredDisk]
) -> RestorePoint:
    key = image_key(name)
    extents = {f"extents/{job.disk.key}": copy for job, copy in zip(jobs, stored, strict=True)}
    return RestorePoint(
        id=point_id(run, key),
        vm=VmIdentity(name=name, key=key),
        taken_at=taken_at,
        run=run,
        mode_asked=BackupMode.ASIS,
        mode_used=BackupMode.ASIS,
        quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH,
        images=tuple(job.image(copy) for job, copy in zip(jobs, stored, strict=True)),
        attachments={name: copy.extents_root for name, copy in extents.items()},
        attachment_sizes={name: copy.extents_size for name, copy in extents.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageJob:
    """An image, and its extents to read."""

    disk: Disk
    extents: tuple[Extent, ...] | None
    parent: str | None
    reason: str

    def copy(
        self, source: LocalFileSource, repository: Repository, run: str, begun: str, report: _Together
    ) -> StoredDisk:
        """Store the image's content."""
        stored = back_up_disk(
            source,
            repository,
            run=run,
            begun=begun,
            extents=self.extents,
            parent_root=self.parent,
            cursor=None,
            snapshot=None,
            piece_size=_PIECE,
            depth=_DEPTH,
            on_progress=report,
            check=lambda: None,
        )
        report.next_disk()
        return stored

    def image(self, stored: StoredDisk) -> DiskImage:
        """Return the disk as its restore point has it."""
        return DiskImage(
            disk=self.disk,
            root=stored.root,
            kind=BackupKind.INCREMENTAL if self.parent else BackupKind.FULL,
            reason=self.reason,
            bytes_read=stored.bytes_read,
            bytes_stored=stored.bytes_stored,
        )


def _plan(
    source: LocalFileSource,
    path: Path,
    number: int,
    extents: Sequence[Extent] | None,
    parent: RestorePoint | None,
) -> _ImageJob:
    bus, place = divmod(number, _DISKS_PER_BUS)
    disk = Disk(
        key=_FIRST_KEY + number,
        label=f"Hard disk {number + 1}",
        controller=ControllerKind.SCSI,
        controller_type="ParaVirtualSCSIController",
        bus=bus,
        unit=place + (place >= _ADAPTERS_UNIT),
        capacity=source.capacity,
        backing="raw-image",
        file_name=os.fsencode(path.name).decode(errors="replace"),  # because a file's name can have any bytes
    )
    if extents is None or parent is None:
        return _ImageJob(disk=disk, extents=None, parent=None, reason="no extents were given")
    beyond = next((extent for extent in extents if extent.stop > source.capacity), None)
    if beyond is not None:
        raise UsageError(f"{path}: extent [{beyond.start}, {beyond.length}] reaches beyond its {source.capacity} bytes")
    image = parent_image(parent, number, disk, path)
    return _ImageJob(disk=disk, extents=tuple(extents), parent=image.root, reason=f"changes since {parent.ref}")


class _Together:
    """Reports the progress of several disks, one after another, as one transfer."""

    def __init__(self, on_progress: OnProgress, disks: int) -> None:
        self._on_progress = on_progress
        self._disks = disks
        self._number = 1
        self._done = self._stored = 0
        self._last: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        """Take one disk's event."""
        self._last = progress
        phase = progress.phase if self._disks == 1 else f"{progress.phase} disk {self._number} of {self._disks}"
        self._on_progress(
            replace(
                progress,
                phase=phase,
                bytes_done=self._done + progress.bytes_done,
                bytes_total=self._done + progress.bytes_total,
                bytes_stored=self._stored + progress.bytes_stored,
                cursor=None,
            )
        )

    def next_disk(self) -> None:
        """Go on to the next disk."""
        self._number += 1
        if self._last is not None:
            self._done += self._last.bytes_done
            self._stored += self._last.bytes_stored
