"""Imports disk images in local files as one restore point, as if they were the disks of a VM."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import field, replace
from datetime import datetime
from pathlib import Path

from vmkeep.clock import now
from vmkeep.errors import UsageError
from vmkeep.formats import ImportFormat
from vmkeep.images.foreign import open_foreign
from vmkeep.images.foreigndisks import Foreign, ForeignDisk, shown
from vmkeep.images.imagenames import check_name, require_own_key
from vmkeep.images.imageparents import check_parent, find_parent, parent_image
from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import DiskSource
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.extents import Extent
from vmkeep.model.imagekeys import image_key
from vmkeep.model.job import Progress
from vmkeep.model.point import BackupKind, BackupMode, Consistency, DiskImage, Power, Quiesce, RestorePoint, VmIdentity
from vmkeep.model.wording import counted
from vmkeep.repository import Repository, point_id
from vmkeep.transfer import StoredDisk, back_up_disk
from vmkeep.transfer.progress import OnProgress

_FIRST_KEY = 2000
_PIECE = 1 << 20
_DEPTH = 4
_DISKS_PER_BUS = 15
_ADAPTERS_UNIT = 7
_ADAPTERS = {ControllerKind.SCSI: "ParaVirtualSCSIController", ControllerKind.SATA: "VirtualAHCIController"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The parts of a point beside its disks."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """One sentence for each thing that a person should know, besides those of the opened images."""


Describe = Callable[[Foreign, Sequence[Disk]], Kept]
"""Makes what is kept with a point, from the opened images and their disks as the point will have them."""


def import_images(
    repository: Repository,
    paths: Sequence[Path],
    *,
    name: str,
    extents: Sequence[Sequence[Extent] | None] | None = None,
    since: str | None = None,
    form: ImportFormat | None = None,
    bus: ControllerKind = ControllerKind.SCSI,
    describe: Describe = lambda _foreign, _disks: Kept(),
    on_progress: OnProgress = lambda _progress: None,
) -> RestorePoint:
    """Store disk images, or the disks of a described machine, as one restore point, seal it and return it.

    :param extents: for each image, the extents that changed since the point ``since``; ``None``: read the whole image.
    :param since: the point that the extents are relative to: its ref, or the unique beginning of its id or ref. Only
        the caller knows it, because a step of the clock or another import may make another point the newest.
    :param form: the format of all images; ``None``: each is known by its signature. With ``RAW`` the files are taken
        byte by byte, because a disk may hold such a file from its first byte on.
    :param bus: the kind of controller for disks whose machine is not known: ``SCSI`` or ``SATA``.
    :param describe: is called once, before any block is stored.
    :raises UsageError: there is no image, the key of the name holds points of another machine, a file is damaged or of
        a format that cannot be imported, extents reach beyond the disk, or they cannot be relative to that point.
    :raises UnsupportedError: a file has a feature that cannot be read.
    :raises NotFoundError: there is no such point, or no such file.
    """
    if not paths:
        raise UsageError("no image is named")
    check_name(name)
    changed = tuple(extents) if extents is not None else None
    if changed is not None and len(changed) != len(paths):
        raise UsageError(f"{counted(len(paths), 'image')}, but extents for {len(changed)}")
    check_parent(name, since, given=any(each is not None for each in changed or ()))
    if since is None:  # else the key holds a point of this name already, and a listing and a reading are saved
        require_own_key(repository, name)
    run = f"{image_key(name)}-{secrets.token_hex(8)}"
    with ExitStack() as stack:
        foreign = stack.enter_context(open_foreign(paths, form))
        given = changed or (None,) * len(foreign.disks)
        if len(given) != len(foreign.disks):
            raise UsageError(f"{paths[0]}: has {counted(len(foreign.disks), 'disk')}, but extents for {len(given)}")
        begun = stack.enter_context(repository.at_work(run))
        parent = None if since is None else find_parent(repository, name, since)
        jobs = [
            _plan(disk, number, extent, parent, bus)
            for number, (disk, extent) in enumerate(zip(foreign.disks, given, strict=True))
        ]
        kept = describe(foreign, [job.disk for job in jobs])
        taken_at = now()
        report = _Together(on_progress, len(jobs))
        stored = [job.copy(repository, run, begun, report) for job in jobs]
        foreign.finish(on_progress)
        attached = repository.store_attachments(dict(kept.files), run=run, begun=begun) if kept.files else {}
        point = replace(_described(run, name, taken_at, jobs, stored, attached), warnings=(*foreign.notes, *kept.notes))
        repository.seal(point, begun=begun)
    return point


def _described(
    run: str,
    name: str,
    taken_at: datetime,
    jobs: Sequence[_ImageJob],
    stored: Sequence[StoredDisk],
    attached: Mapping[str, tuple[str, int]],
) -> RestorePoint:
    key = image_key(name)
    files = {
        f"extents/{job.disk.key}": (copy.extents_root, copy.extents_size)
        for job, copy in zip(jobs, stored, strict=True)
    } | dict(attached)
    return RestorePoint(
        id=point_id(run, key),
        vm=VmIdentity(name=name, key=key),
        taken_at=taken_at,
        run=run,
        mode_asked=BackupMode.ASIS,
        mode_used=BackupMode.ASIS,
        quiesce_asked=Quiesce.NONE,
        consistency=Consistency.CRASH,
        power=Power.OFF,  # because nobody knows, and a new VM must not start beside a machine that runs elsewhere
        images=tuple(job.image(copy) for job, copy in zip(jobs, stored, strict=True)),
        attachments={file: root for file, (root, _) in files.items()},
        attachment_sizes={file: size for file, (_, size) in files.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageJob:
    """An image, and its extents to read."""

    source: DiskSource
    disk: Disk
    extents: tuple[Extent, ...] | None
    parent: str | None
    reason: str

    def copy(self, repository: Repository, run: str, begun: str, report: _Together) -> StoredDisk:
        """Store the image's content."""
        stored = back_up_disk(
            self.source,
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
    foreign: ForeignDisk,
    number: int,
    extents: Sequence[Extent] | None,
    parent: RestorePoint | None,
    bus: ControllerKind,
) -> _ImageJob:
    source, path = foreign.source, foreign.path
    disk = _disk(foreign, number, bus)
    if extents is None or parent is None:
        return _ImageJob(source=source, disk=disk, extents=None, parent=None, reason="no extents were given")
    beyond = next((extent for extent in extents if extent.stop > source.capacity), None)
    if beyond is not None:
        raise UsageError(f"{path}: extent [{beyond.start}, {beyond.length}] reaches beyond its {source.capacity} bytes")
    image = parent_image(parent, number, disk, path)
    return _ImageJob(
        source=source, disk=disk, extents=tuple(extents), parent=image.root, reason=f"changes since {parent.ref}"
    )


def _disk(foreign: ForeignDisk, number: int, kind: ControllerKind) -> Disk:
    """Return the disk as its restore point has it: where its machine has it, else one after another."""
    bus, unit = divmod(number, _DISKS_PER_BUS)
    if kind is ControllerKind.SCSI and unit >= _ADAPTERS_UNIT:
        unit += 1
    at = foreign.place
    return Disk(
        key=at.key if at else _FIRST_KEY + number,
        label=f"Hard disk {number + 1}",
        controller=at.controller if at else kind,
        controller_type=at.controller_type if at else _ADAPTERS[kind],
        bus=at.bus if at else bus,
        unit=at.unit if at else unit,
        capacity=foreign.source.capacity,
        backing=f"{foreign.format}-image",
        file_name=shown(foreign.name),
    )


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
