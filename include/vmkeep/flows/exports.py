"""Exports a restore point as images of its disks, into a folder or to S3."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Final

from vmkeep.blobs import open_uploads
from vmkeep.errors import UsageError
from vmkeep.flows.disk_words import chosen_numbers
from vmkeep.flows.export_permits import hold_for_export
from vmkeep.flows.point_doubts import about_content
from vmkeep.images import (
    AT_ONCE,
    Companions,
    Converter,
    ExportPlace,
    LocalPlace,
    S3Place,
    check_export_name,
    export_point,
    no_companions,
    safe_name,
)
from vmkeep.model.aws import AwsCredentials
from vmkeep.model.exports import ExportedDisk, ExportedPoint, ExportRequest, ImageFormat
from vmkeep.model.job import Progress
from vmkeep.model.point import RestorePoint
from vmkeep.model.portable import PortableMachine
from vmkeep.repository import Repository

__all__ = ["ExportRequest", "ExportedDisk", "ExportedPoint", "ImageFormat", "export"]

log = logging.getLogger(__name__)

_OTHER: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
"""The beginning of a place that is no folder."""


def export(
    repository: Repository,
    request: ExportRequest,
    *,
    on_progress: Callable[[str], Callable[[Progress], None]],
    tell: Callable[[str], None] = log.warning,
    check: Callable[[], None] = lambda: None,
    run: str | None = None,
    transfers: int | None = None,
    aws: AwsCredentials | None = None,
) -> ExportedPoint:
    """Write images of a point's disks, read them back, and publish them with their manifest.

    If anything fails, nothing of the export is left in the place. A retry starts again. No prune
    deletes the point meanwhile.

    :param on_progress: makes the function that takes the progress of a disk, from the disk's name.
    :param tell: takes each warning about the point, before anything is written. The manifest keeps them.
    :param check: called about once a second; its error ends the export.
    :param run: run key of the DAG run for which this is. A retry of it ends well if an earlier try has published the
        export; ``None``: nobody tries again.
    :param transfers: limit on the transfers of the repository, of which a run's export is one: it writes one disk after
        the other then; ``None``: any number.
    :param aws: credentials for S3; ``None``: those in the environment.
    :raises NotFoundError: there is no such point, disk or folder.
    :raises ConflictError: a file of that name exists, or another process exports under that name.
    :raises UnsupportedError: the format cannot hold a disk, or the program that converts guests is not installed.
    :raises ConversionError: the guest could not be converted. The export is complete without it.
    :raises CorruptError: a stored block is damaged. The message names the byte of the disk.
    :raises StoreFullError: there is no space left.
    """
    place = _open_place(request.out, aws)
    name = None if request.name is None else check_export_name(request.name)
    point = repository.find_point(request.point)
    warnings = about_content(repository, point, work="export")
    for warning in warnings:
        tell(warning)
    describes = request.to is not None or request.format in (ImageFormat.OVF, ImageFormat.OVA)
    machine = _machine(repository, point) if describes else None
    companions, convert = _beside(request, machine)
    what, lease = f"export of {point.vm.name}", _lease(request, name or safe_name(point.vm.name))
    with (
        hold_for_export(repository, transfers if run else None, run=run or "", lease=lease, what=what) as go_on,
        repository.uses.open(point.ref, doing="exporting") as use,
    ):
        return export_point(
            repository,
            point,
            place,
            form=request.format,
            name=name or safe_name(point.vm.name),
            numbers=chosen_numbers(point, request.disks),
            overwrite=request.overwrite,
            verify=request.verify,
            machine=machine,
            warnings=warnings,
            run=run,
            at_once=1 if run and transfers else AT_ONCE,
            companions=companions,
            convert=convert,
            on_progress=on_progress,
            check=partial(_each, check, go_on, use.check),
        )


def _machine(repository: Repository, point: RestorePoint) -> PortableMachine:
    from vmkeep.flows.saved_machine import saved_machine  # takes time to import

    return saved_machine(repository, point)


def _beside(request: ExportRequest, machine: PortableMachine | None) -> tuple[Companions, Converter | None]:
    if machine is not None:
        from vmkeep.flows.leaving import WayOut, ova_files, ovf_files  # takes time to import
    if machine is not None and request.to is not None:
        way = WayOut(request, request.to, machine)
        return way.files, way.convert if request.convert else None
    if request.convert:
        raise UsageError("--convert makes a guest ready for another hypervisor: add --to libvirt")
    if machine is not None:
        return partial(ovf_files if request.format is ImageFormat.OVF else ova_files, machine), None
    return no_companions, None


def _lease(request: ExportRequest, name: str) -> str:
    """Return the name of an export's lease: a run may export one VM to several places."""
    return f"export-{sha256(f'{request.out}/{name}'.encode()).hexdigest()[:16]}"


def _each(*checks: Callable[[], None]) -> None:
    for check in checks:
        check()


def _open_place(out: str, aws: AwsCredentials | None) -> ExportPlace:
    if out.startswith("s3://"):
        return S3Place(open_uploads(out, credentials=aws))
    if _OTHER.match(out):
        raise UsageError(f"{out}: exports go into a folder of this machine, or to s3://bucket/prefix")
    return LocalPlace(Path(out).expanduser().absolute())
