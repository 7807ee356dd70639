"""Imports disk images as a restore point, and exports a disk of a point as an image."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.flows.few_segments import keep_segments_few
from vmkeep.formats import ImportFormat
from vmkeep.images import Foreign, Kept
from vmkeep.images import import_images as store_images
from vmkeep.lateclass import dataclass
from vmkeep.model.disk import ControllerKind, Disk
from vmkeep.model.extents import Extent
from vmkeep.model.job import Progress
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import Firmware, PortableMachine
from vmkeep.repository import Repository

__all__ = ["Exported", "ImportFormat", "ImportRequest", "Imported", "export", "import_images"]

log = logging.getLogger(__name__)

_USUAL_MEMORY = 2048
_GUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """The images to import, and what is known of their machine."""

    paths: tuple[Path, ...]
    name: str
    """Name of the machine that the images belong to."""
    format: ImportFormat | None = None
    """The format of all images; ``None``: each is known by its signature."""
    extents: Sequence[Sequence[Extent] | None] | None = None
    """For each image, the extents that changed since the point ``since``; ``None``: read the whole image."""
    since: str | None = None
    guest_id: str | None = None
    """vSphere's id of the guest system. This and the three below go before the description of the machine."""
    cpus: int | None = None
    memory_mib: int | None = None
    firmware: Firmware | None = None

    @property
    def tells_machine(self) -> bool:
        """Whether anything of the machine is told, so that a VM can be made from the point."""
        return any(told is not None for told in (self.guest_id, self.cpus, self.memory_mib, self.firmware))


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A sealed restore point of images."""

    point: RestorePoint
    formats: tuple[str, ...]
    """One phrase for each file: its name and the format that it was taken for."""
    notes: tuple[str, ...]
    """One sentence for each thing that a person should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A disk of a restore point, written to a file."""

    point: str
    """The point's ref."""
    bytes_written: int
    warnings: tuple[str, ...]
    """Sentences about disks of the VM that are not in the point, and about marks that the point has."""


def import_images(
    repository: Repository, request: ImportRequest, *, on_progress: Callable[[Progress], None]
) -> Imported:
    """Store disk images, or a described machine with its disks, as one restore point.

    The point keeps a configuration if the machine is described or told, so that a restore can make a VM from it.

    :raises UsageError: the guest system's id has other characters than such ids have; also see the import of images.
    """
    if request.guest_id is not None and _GUEST_ID.fullmatch(request.guest_id) is None:
        raise UsageError(
            f"--guest-id {request.guest_id[:100]!r} is no id of a guest system: it has up to 100 letters, digits, '_', "
            "'-' and '.', e.g. debian12_64Guest"
        )
    seen: list[Foreign] = []

    def describe(foreign: Foreign, disks: Sequence[Disk]) -> Kept:
        seen.append(foreign)
        return _kept(request, foreign, disks)

    point = store_images(
        repository,
        request.paths,
        name=request.name,
        extents=request.extents,
        since=request.since,
        form=request.format,
        bus=ControllerKind.SATA if request.tells_machine else ControllerKind.SCSI,
        describe=describe,
        on_progress=on_progress,
    )
    keep_segments_few(repository)
    return Imported(point=point, formats=seen[0].formats, notes=point.warnings)


def _kept(request: ImportRequest, foreign: Foreign, disks: Sequence[Disk]) -> Kept:
    """Return what the point keeps beside its disks, and the notes on it."""
    if (machine := _machine(request, foreign.machine)) is None:
        return Kept()
    from vmkeep.flows.nvram import NVRAM
    from vmkeep.vsphere.importedconfig import UNKNOWN_GUEST, imported_config, known_guest, whole_kib

    files = {"config.xml": imported_config(machine, disks)}
    odd = (each for each in disks if whole_kib(each.capacity) != each.capacity)
    notes = tuple(
        f"{each.label} has {each.capacity} bytes, which are no whole KiB: in a new VM it gets "
        f"{whole_kib(each.capacity) - each.capacity} bytes of zeros at its end"
        for each in odd
    )
    if (asked := request.guest_id) not in (None, UNKNOWN_GUEST) and known_guest(machine.guest_id) == UNKNOWN_GUEST:
        notes += (f"the guest system '{asked}' is not known: a new VM gets {UNKNOWN_GUEST}",)
    if foreign.nvram is None or foreign.machine is None:
        return Kept(files=files, notes=notes)
    if machine.firmware is not foreign.machine.firmware:
        why = f"it belongs to the firmware {foreign.machine.firmware}, and {machine.firmware} is asked for"
        return Kept(files=files, notes=(*notes, f"not taken over: NVRAM: {why}"))
    return Kept(files={**files, NVRAM: foreign.nvram}, notes=notes)


def _machine(request: ImportRequest, described: PortableMachine | None) -> PortableMachine | None:
    """Return the machine, by its description and the request; ``None``: nothing is known of it."""
    if described is None and not request.tells_machine:
        return None
    machine = described or PortableMachine(name=request.name, cpus=1, memory_mib=_USUAL_MEMORY)
    return replace(
        machine,
        name=request.name,
        guest_id=request.guest_id or machine.guest_id,
        cpus=request.cpus or machine.cpus,
        memory_mib=request.memory_mib or machine.memory_mib,
        firmware=request.firmware or machine.firmware,
    )


def export(
    repository: Repository,
    text: str,
    disk: int,
    out: Path,
    *,
    overwrite: bool,
    on_progress: Callable[[Progress], None],
    tell: Callable[[str], None] = log.warning,
) -> Exported:
    """Write one disk of a restore point as a sparse raw file.

    :param text: a ref, the unique beginning of an id, or ``latest:VM``.
    :param disk: the disk's number in the point, from 0, in order of device key.
    :param tell: takes each warning about the point, before anything is written.
    """
    from vmkeep.flows.point_doubts import about_content  # takes time to import, and no import of images needs it
    from vmkeep.images import export_image

    point = repository.find_point(text)
    warnings = about_content(repository, point, work="export")
    for warning in warnings:
        tell(warning)
    written = export_image(repository, point, disk, out, overwrite=overwrite, on_progress=on_progress)
    return Exported(point=point.ref, bytes_written=written.bytes_written, warnings=warnings)
