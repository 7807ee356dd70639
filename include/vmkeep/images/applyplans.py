"""Compares an export with the point that is put onto it, and finds the blocks of its images that are to be written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vmkeep.errors import ConflictError, CorruptError, StaleError, UnsupportedError, UsageError
from vmkeep.images.appliedimages import AppliedImage
from vmkeep.model.exports import ExportedDisk, ExportedPoint, ImageFormat
from vmkeep.model.extents import Extent, Extents, gather, unite
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.repository import DiskMap, Repository

_IN_PLACE: Final = {ImageFormat.RAW: 0, ImageFormat.QCOW2: 0, ImageFormat.FLAT: 1}
"""The formats that can be written in place, with the number of the file that holds the disk's bytes."""


def plan_apply(
    repository: Repository, point: RestorePoint, exported: ExportedPoint, manifest: Path
) -> list[AppliedImage]:
    """Compare an export with the point that it is to hold, and find the blocks that differ. Changes nothing.

    :raises UnsupportedError: images of this format cannot be changed in place.
    :raises ConflictError: the export is of another VM or repository, or its disks are others.
    """
    if exported.format not in _IN_PLACE:
        raise UnsupportedError(
            f"{manifest}: images of format {exported.format} cannot be changed in place: export as {_named()}"
        )
    if exported.repository != repository.descriptor.id:
        raise ConflictError(f"{manifest}: was exported from another repository ({exported.repository})")
    if exported.point.rpartition("/")[0] != point.ref.rpartition("/")[0]:
        raise ConflictError(f"{manifest}: holds {exported.point}, and {point.ref} is a point of another VM")
    images = {image.disk.key: image for image in point.images}
    works = []
    for disk in exported.disks:
        image = images.get(disk.device_key)
        if image is None:
            raise ConflictError(f"{manifest}: {point.ref} holds no {disk.label}; export that point anew")
        if image.disk.capacity != disk.capacity:
            raise ConflictError(
                f"{manifest}: {disk.label} has {disk.capacity} bytes, and {image.disk.capacity} in {point.ref}; export "
                "that point anew"
            )
        changed, whole = _changed(repository, disk, image)
        path = manifest.parent / _data_file(manifest, exported.format, disk)
        works.append(
            AppliedImage(disk=disk, image=image, form=exported.format, path=path, changed=changed, whole=whole)
        )
    return works


def _named() -> str:
    return " or ".join(_IN_PLACE)


def _data_file(manifest: Path, form: ImageFormat, disk: ExportedDisk) -> str:
    """Return the name of the file that holds a disk's bytes."""
    at = _IN_PLACE[form]
    if at >= len(disk.files):
        raise UsageError(f"{manifest}: names no file with the bytes of {disk.label}")
    return disk.files[at].name


def _changed(repository: Repository, disk: ExportedDisk, image: DiskImage) -> tuple[Extents, bool]:
    """Return the extents in which the image may differ from the point, and whether they are all of the disk."""
    try:
        found = Extents()
        for root in {disk.root, *disk.applying}:
            if root != image.root:
                found = unite(found, gather(_differing(repository, root, image)))
    except StaleError:
        return Extents([Extent(0, disk.capacity)]), True
    return found, False


def _differing(repository: Repository, root: str, image: DiskImage) -> Iterator[tuple[int, int]]:
    new, old = repository.open_map(image.root), _open_old(repository, root)
    for block, _ in new.differences(old):
        extent = new.shape.extent(block, block + 1)
        yield extent.start, extent.stop


def _open_old(repository: Repository, root: str) -> DiskMap:
    """Return the map that an image holds.

    :raises StaleError: it is gone or damaged, because its point was deleted.
    """
    try:
        return repository.open_map(root)
    except CorruptError as error:
        raise StaleError(f"the map that the image holds is gone: {error}") from error
