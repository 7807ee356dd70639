"""Exports a restore point: images of its disks, what goes beside them, and a manifest that is written last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Final, TypeVar

from vmkeep.errors import CancelledError, ConversionError
from vmkeep.formats import PlannedFile
from vmkeep.hypervisors import WrittenDisk, host_name, left_behind
from vmkeep.images.drafts import Draft, ExportPlace
from vmkeep.images.earlierexports import published_before
from vmkeep.images.filestates import state_of
from vmkeep.images.imageplans import PlannedImage, plan_images, require_room
from vmkeep.images.ovawriting import OvaWriter, plan_writer
from vmkeep.images.overlays import Converter, convert_overlays, overlay_name
from vmkeep.images.readingback import read_back
from vmkeep.model.exports import MANIFEST, ExportedDisk, ExportedPoint, ImageFormat, WrittenFile
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import LeftOut, PortableMachine
from vmkeep.model.sinks import Sink
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress

T = TypeVar("T")

Companions = Callable[[ExportedPoint], Mapping[str, bytes]]
"""Makes the files that go beside the images, by name, such as a description of the machine for another hypervisor. It
takes the export with the disks that are written. Before that, it is called with the disks as they are planned, so that
what cannot be described is refused before anything is written."""

AT_ONCE: Final = 2
"""Disks that are written at the same time. Each is read by several threads already."""
_TICK = 0.25


def no_companions(_exported: ExportedPoint) -> Mapping[str, bytes]:
    """Return nothing to write beside the images."""
    return {}


def export_point(
    repository: Repository,
    point: RestorePoint,
    place: ExportPlace,
    *,
    form: ImageFormat,
    name: str,
    numbers: Sequence[int] = (),
    overwrite: bool = False,
    verify: Verify = Verify.SAMPLE,
    machine: PortableMachine | None = None,
    companions: Companions = no_companions,
    warnings: Sequence[str] = (),
    run: str | None = None,
    at_once: int = AT_ONCE,
    convert: Converter | None = None,
    on_progress: Callable[[str], OnProgress],
    check: Callable[[], None] = lambda: None,
) -> ExportedPoint:
    """Write images of a point's disks into a place, read them back, and publish them with their manifest.

    If anything fails, nothing of the export is left in the place.

    :param name: a safe name for files; see :func:`vmkeep.images.exportnames.safe_name`.
    :param numbers: numbers of the disks, from 0, in order of device key; none: all.
    :param machine: the point's machine; ``None``: the export does not describe it.
    :param warnings: sentences about the point that its manifest keeps.
    :param run: run key of the DAG run for which this is. If an earlier try of it has published this export, that one is
        returned, and nothing is written; ``None``: nobody tries again.
    :param at_once: disks that are written at the same time.
    :param convert: ``None``: the guest stays as it is. It is only possible in a folder.
    :param on_progress: makes the function that takes the progress of a disk, from the disk's name.
    :raises ConversionError: the guest could not be converted. The export is complete without it.
    :raises ConflictError: a file of that name exists, or another process exports under that name.
    :raises CorruptError: a stored block is damaged. The message names the byte of the disk.
    :raises VerificationError: an image reads back something else than was written.
    :raises StoreFullError: there is no space left.
    """
    planned, ova, files = _plan(repository, point, numbers, name=name, form=form, machine=machine)
    exported = ExportedPoint(
        name=name,
        place=place.location,
        format=form,
        repository=repository.descriptor.id,
        point=point.ref,
        vm=point.vm.name,
        disks=tuple(_as_planned(each, files if ova else each.plan.files) for each in planned),
        verify=verify,
        run=run,
        warnings=tuple(warnings),
    )
    # What the companions refuse is refused before anything is written.
    beside = list(companions(exported))
    place.clean()
    earlier = published_before(place, exported, beside)
    if earlier is not None and bool(earlier.converted) == (convert is not None):
        return earlier
    if convert is not None:
        beside += map(overlay_name, exported.disks)
    require_room(place, planned, files, [f"{name}{MANIFEST}", *beside], overwrite=overwrite)
    bars = {each.number: on_progress(each.image.disk.label) for each in planned}
    with place.draft(name, overwrite=overwrite) as draft:
        work = _Work(repository, draft, form, verify, at_once, check)
        disks = work.write_all(planned, bars) if ova is None else work.write_ova(ova, files[0], bars)
        exported = replace(exported, disks=tuple(disks), left_out=_left_out(machine, exported))
        if convert is None:
            exported = _write_beside(draft, exported, companions)
        draft.complete()
        again = planned if ova is None else planned[:1]  # because all disks of an OVA are in one file
        exported = replace(exported, disks=work.read_all_back(again, disks, bars))
        failed = None
        if convert is not None and draft.folder is not None:  # the overlays hide nothing: the images were read back
            exported, failed = convert_overlays(draft, draft.folder, exported, convert, check)
            exported = _write_beside(draft, exported, companions)
        removed = draft.publish(exported.manifest, exported.encode())
    if failed is not None:
        raise ConversionError(
            f"{exported.place}/{exported.manifest}: the export is complete, but its guest is not converted: {failed}"
        ) from failed
    return replace(exported, removed=tuple(removed))


def _plan(
    repository: Repository,
    point: RestorePoint,
    numbers: Sequence[int],
    *,
    name: str,
    form: ImageFormat,
    machine: PortableMachine | None,
) -> tuple[Sequence[PlannedImage], OvaWriter | None, Sequence[PlannedFile]]:
    """Return the images, the writer of the OVA that they go into if it is one, and the files that come to be."""
    if form is not ImageFormat.OVA:
        planned = plan_images(repository, point, numbers, name=name, form=form)
        return planned, None, [file for each in planned for file in each.plan.files]
    if machine is None:
        raise ValueError("an OVA describes a machine")
    inside = host_name(name)
    planned = plan_images(repository, point, numbers, name=inside, form=form)
    ova = plan_writer(planned, machine, inside)
    return planned, ova, [PlannedFile(name=f"{name}.ova", size=ova.most)]


class _Work:
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
        self._check = check
        self._stop = threading.Event()

    def each(self, planned: Sequence[PlannedImage], work: Callable[[PlannedImage], T]) -> list[T]:
        """Do a work for each disk. The first error ends the others' and is raised."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="export") as threads:
            futures = [threads.submit(work, each) for each in planned]
            try:
                while wait(futures, _TICK, FIRST_EXCEPTION).not_done:
                    self._check()
                    if any(future.done() and future.exception() for future in futures):
                        break
            finally:
                if not all(future.done() for future in futures):
                    self._stop.set()
                    threads.shutdown(wait=False, cancel_futures=True)
        for future in sorted(futures, key=_error_of_its_own, reverse=True):
            future.result()
        return [future.result() for future in futures]

    def write_all(self, planned: Sequence[PlannedImage], bars: Mapping[int, OnProgress]) -> list[ExportedDisk]:
        """Write the image of each disk."""
        return self.each(planned, lambda each: self.write(each, bars[each.number]))

    def read_all_back(
        self, planned: Sequence[PlannedImage], written: Sequence[ExportedDisk], bars: Mapping[int, OnProgress]
    ) -> tuple[ExportedDisk, ...]:
        """Compare images with the stored disks. Return all disks that were written, with what was compared."""
        by_number = {disk.number: disk for disk in written}
        compared = self.each(planned, lambda each: self.read_back(each, by_number[each.number], bars[each.number]))
        return (*compared, *written[len(compared) :])

    def write(self, each: PlannedImage, on_progress: OnProgress) -> ExportedDisk:
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

    def write_ova(self, ova: OvaWriter, file: PlannedFile, bars: Mapping[int, OnProgress]) -> list[ExportedDisk]:
        """Write the images of all disks into an OVA."""
        sink = self._draft.create(file.name, size=file.size, known=False)
        written = ova.write(self._repository, sink, bars=bars, check=self._check)
        whole = _written(file, sink)
        return [
            replace(_as_planned(each, ()), files=(whole,), bytes_written=data)
            for each, data in zip(ova.planned, written, strict=True)
        ]

    def read_back(self, each: PlannedImage, disk: ExportedDisk, on_progress: OnProgress) -> ExportedDisk:
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
            files = tuple(replace(file, state=state_of(folder / file.name)) for file in files)
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


def _left_out(machine: PortableMachine | None, exported: ExportedPoint) -> tuple[LeftOut, ...]:
    if machine is None:
        return ()
    files = [
        WrittenDisk(key=disk.device_key, name=disk.files[0].name, size=disk.files[0].size) for disk in exported.disks
    ]
    return left_behind(machine, files)


def _write_beside(draft: Draft, exported: ExportedPoint, companions: Companions) -> ExportedPoint:
    texts = [_write_text(draft, file, text) for file, text in companions(exported).items()]
    return replace(exported, beside=tuple(texts))


def _write_text(draft: Draft, name: str, text: bytes) -> WrittenFile:
    sink = draft.create(name, size=len(text))
    sink.write_at(0, text)
    sink.finish(len(text))
    return WrittenFile(name=name, size=len(text))
