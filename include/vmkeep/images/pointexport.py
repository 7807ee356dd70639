"""Exports a restore point: images of its disks, what goes beside them, and a manifest that is written last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from vmkeep.errors import ConversionError
from vmkeep.hypervisors import WrittenDisk, left_behind
from vmkeep.images.drafts import Draft, ExportPlace
from vmkeep.images.earlierexports import published_before
from vmkeep.images.exportwork import ExportPlan, ExportWork, plan_export
from vmkeep.images.imageplans import require_room
from vmkeep.images.overlays import Converter, convert_overlays, overlay_name
from vmkeep.model.exports import MANIFEST, ExportedPoint, ImageFormat, WrittenFile
from vmkeep.model.overwrite import Verify
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import LeftOut, PortableMachine
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress

Companions = Callable[[ExportedPoint], Mapping[str, bytes]]
"""Makes the files that go beside the images, by name, such as a description of the machine for another hypervisor. It
takes the export with the disks that are written. Before that, it is called with the disks as they are planned, so that
what cannot be described is refused before anything is written."""

AT_ONCE: Final = 2
"""Disks that are written at the same time. Each is read by several threads already."""


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
    plan = plan_export(repository, point, numbers, name=name, form=form, machine=machine)
    exported = ExportedPoint(
        name=name,
        place=place.location,
        format=form,
        repository=repository.descriptor.id,
        point=point.ref,
        vm=point.vm.name,
        disks=plan.disks,
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
    require_room(place, plan.images, plan.files, [f"{name}{MANIFEST}", *beside], overwrite=overwrite)
    bars = {each.number: on_progress(each.image.disk.label) for each in plan.images}
    with place.draft(name, overwrite=overwrite) as draft:
        work = ExportWork(repository, draft, form, verify, at_once, check)
        exported = replace(exported, left_out=_left_out(machine, exported))
        exported, failed = _fill(draft, work, plan, exported, bars, companions, convert)
        removed = draft.publish(exported.manifest, exported.encode())
    if failed is not None:
        raise ConversionError(
            f"{exported.place}/{exported.manifest}: the export is complete, but its guest is not converted: {failed}"
        ) from failed
    return replace(exported, removed=tuple(removed))


def _fill(
    draft: Draft,
    work: ExportWork,
    plan: ExportPlan,
    exported: ExportedPoint,
    bars: Mapping[int, OnProgress],
    companions: Companions,
    convert: Converter | None,
) -> tuple[ExportedPoint, ConversionError | None]:
    """Write all files of a draft but its manifest, and read the images back.

    :returns: the export with what was written, and the reason why its guest could not be converted.
    """
    disks = work.write(plan, bars)
    exported = replace(exported, disks=tuple(disks))
    if convert is None:
        exported = _write_beside(draft, exported, companions)
    draft.complete()
    exported = replace(exported, disks=work.read_all_back(plan, disks, bars))
    if convert is None or draft.folder is None:
        return exported, None
    # The overlays hide nothing, because the images were read back.
    exported, failed = convert_overlays(draft, draft.folder, exported, convert, work.check)
    return _write_beside(draft, exported, companions), failed


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
