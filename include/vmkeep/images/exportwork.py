"""The work on the disks of one export: writes an image of each, some at the same time, and reads them back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final, TypeVar

from vmkeep.errors import CancelledError
from vmkeep.formats import PlannedFile
from vmkeep.hypervisors import host_name
from vmkeep.images.drafts import Draft
from vmkeep.images.filestates import settled_state
from vmkeep.images.imageplans import PlannedImage, plan_images
from vmkeep.images.ovawriting import OvaWriter, plan_writer
from vmkeep.images.readingback import read_back
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ExportedDisk, ImageFormat, WrittenFile
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import PortableMachine
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress

T = TypeVar("T")
_TICK: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """The images of an export, and the files that come to be."""

    images: Sequence[PlannedImage]
    ova: OvaWriter | None
    """Writes the one file that all images go into; ``None``: each has files of its own."""
    files: Sequence[PlannedFile]

    @property
    def disks(self) -> tuple[ExportedDisk, ...]:
        """The disks of the export, before anything is written."""
        return tuple(_as_planned(each, each.plan.files if self.ova is None else self.files) for each in self.images)


def plan_export(
    repository: Repository,
    point: RestorePoint,
    numbers: Sequence[int],
    *,
    name: str,
    form: ImageFormat,
    machine: PortableMachine | None,
) -> ExportPlan:
    """Return the images of some disks of a point in a format, and the files that they become."""
    if form is not ImageFormat.OVA:
        images = plan_images(repository, point, numbers, name=name, form=form)
        return ExportPlan(images=images, ova=None, files=[file for each in images for file in each.plan.files])
    if machine is None:
        raise ValueError("an OVA describes a machine")
    inside = host_name(name)
    images = plan_images(repository, point, numbers, name=inside, form=form)
    ova = plan_writer(images, machine, inside)
    return ExportPlan(images=images, ova=ova, files=[PlannedFile(name=f"{name}.ova", size=ova.most)])


class ExportWork:
    """The work on the disks of one export, some at the same time."""

    def __init__(
        self,
        repository: Repository,
        draft: Draft,
        form: ImageFormat,
        verify: Verify,
        at_once: int,
        check: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._draft = draft
        self._form = form
        self._verify = verify
        self._at_once = at_once
        self.check = check
        self._stop = threading.Event()

    def write(self, plan: ExportPlan, bars: Mapping[int, OnProgress]) -> list[ExportedDisk]:
        """Write the image of each disk."""
        if plan.ova is not None:
            return self._write_ova(plan.ova, plan.files[0], bars)
        return self._each(plan.images, lambda each: self._write(each, bars[each.number]))

    def read_all_back(
        self, plan: ExportPlan, written: Sequence[ExportedDisk], bars: Mapping[int, OnProgress]
    ) -> tuple[ExportedDisk, ...]:
        """Compare images with the stored disks. Return all disks that were written, with what was compared."""
        by_number = {disk.number: disk for disk in written}
        images = plan.images if plan.ova is None else plan.images[:1]  # because all disks of an OVA are in one file
        compared = self._each(images, lambda each: self._read_back(each, by_number[each.number], bars[each.number]))
        return (*compared, *written[len(compared) :])

    def _each(self, images: Sequence[PlannedImage], work: Callable[[PlannedImage], T]) -> list[T]:
        """Do a work for each disk. The first error ends the others' and is raised."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="export") as threads:
            futures = [threads.submit(work, each) for each in images]
            try:
                self.check()  # also if all of them end before the first look
                while wait(futures, _TICK, FIRST_EXCEPTION).not_done:
                    self.check()
                    if any(future.done() and future.exception() for future in futures):
                        break
            finally:
                if not all(future.done() for future in futures):
                    self._stop.set()
                    threads.shutdown(wait=False, cancel_futures=True)
        for future in sorted(futures, key=_error_of_its_own, reverse=True):
            future.result()
        return [future.result() for future in futures]

    def _write(self, each: PlannedImage, on_progress: OnProgress) -> ExportedDisk:
        """Write the image of a disk."""
        plan = each.plan
        sinks = [self._draft.create(file.name, size=file.size, known=plan.known) for file in plan.files]
        written = plan.write(
            self._repository,
            each.image.root,
            sinks,
            on_progress=on_progress,
            check=self._go_on,
            what=each.what,
        )
        return replace(_as_planned(each, ()), files=tuple(map(_written, plan.files, sinks)), bytes_written=written)

    def _write_ova(self, ova: OvaWriter, file: PlannedFile, bars: Mapping[int, OnProgress]) -> list[ExportedDisk]:
        """Write the images of all disks into an OVA."""
        sink = self._draft.create(file.name, size=file.size, known=False)
        written = ova.write(self._repository, sink, bars=bars, check=self.check)
        whole = _written(file, sink)
        return [
            replace(_as_planned(each, ()), files=(whole,), bytes_written=data)
            for each, data in zip(ova.planned, written, strict=True)
        ]

    def _read_back(self, each: PlannedImage, disk: ExportedDisk, on_progress: OnProgress) -> ExportedDisk:
        """Compare the image of a disk with the stored disk."""
        compared = read_back(
            self._repository,
            self._draft,
            disk,
            self._form,
            self._verify,
            on_progress=on_progress,
            check=self._go_on,
            what=each.what,
        )
        files = disk.files
        if (folder := self._draft.folder) is not None:
            files = tuple(replace(file, state=settled_state(folder / file.name)) for file in files)
        return replace(disk, bytes_compared=compared, files=files)

    def _go_on(self) -> None:
        """Return if the work is to go on."""
        if self._stop.is_set():
            raise CancelledError("the export stops because of another disk's error")


def _error_of_its_own(future: Future[T]) -> bool:
    """Return whether a work failed, and not because another one did."""
    return not future.cancelled() and not isinstance(future.exception(), CancelledError | None)


def _written(file: PlannedFile, sink: Sink) -> WrittenFile:
    return WrittenFile(name=file.name, size=sink.size, sha256=sink.sha256)


def _as_planned(each: PlannedImage, files: Sequence[PlannedFile]) -> ExportedDisk:
    """Return a disk of the export as it will be, without the counts of what was written."""
    return ExportedDisk(
        number=each.number,
        label=each.image.disk.label,
        device_key=each.image.disk.key,
        capacity=each.image.disk.capacity,
        root=each.image.root,
        files=tuple(WrittenFile(name=file.name, size=file.size) for file in files),
        bytes_written=0,
    )
