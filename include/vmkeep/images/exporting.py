"""Exports one disk of a restore point as a sparse raw image in a local file."""

from __future__ import annotations

import secrets
from pathlib import Path

from vmkeep.blobs import name_if_free, sync_folder
from vmkeep.errors import ConflictError, NotFoundError, StoreFullError, UsageError
from vmkeep.images.diskfiles import LocalFileTarget, remove_abandoned
from vmkeep.images.localdrafts import LocalPlace
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import total
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.transfer import restore_disk
from vmkeep.transfer.progress import OnProgress

_TEMPORARY = ".vmkeep-{}.partial"
"""Name of an incomplete file. It does not contain the final name, because that may be too long already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A disk image that is written and durable."""

    path: str
    device_key: int
    capacity: int
    bytes_written: int


def export_image(
    repository: Repository,
    point: RestorePoint,
    device_index: int,
    out: Path,
    *,
    overwrite: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> Exported:
    """Write a disk to a file, which gets its name only when it is complete.

    Files that killed exports left in the same folder are removed first, because their space may be needed.

    :param device_index: number of the disk in the point, from 0, in order of device key.
    :raises NotFoundError: the point holds no such disk, or the folder of ``out`` is missing.
    :raises ConflictError: ``out`` exists and ``overwrite`` is not set.
    :raises StoreFullError: the data is larger than the free space.
    :raises UsageError: no file can have that name.
    """
    images = sorted(point.images, key=lambda image: image.disk.key)
    if not 0 <= device_index < len(images):
        raise NotFoundError(point.lacks(device_index))
    image = images[device_index]
    _require_free(out, overwrite=overwrite)
    remove_abandoned(out.parent.glob(_TEMPORARY.format("*")))
    _require_room(repository, image, out.parent)
    temporary = out.with_name(_TEMPORARY.format(secrets.token_hex(8)))
    try:
        with LocalFileTarget(temporary, capacity=image.disk.capacity, create=True) as target:
            written, _ = restore_disk(
                repository,
                image.root,
                target,
                fresh=True,
                on_progress=on_progress,
                check=lambda: None,
                what=f"restore point {point.ref}, {image.disk.label}",
            )
            _publish(
                temporary, out, overwrite=overwrite
            )  # it is locked until then, so that nobody takes it for abandoned
    finally:
        temporary.unlink(missing_ok=True)
    return Exported(path=str(out), device_key=image.disk.key, capacity=image.disk.capacity, bytes_written=written)


def _require_free(out: Path, *, overwrite: bool) -> None:
    try:
        if out.exists() and not (overwrite and out.is_file()):
            raise ConflictError(f"{out}: exists already; nothing was written: give another name, or --force")
        if not out.parent.is_dir():
            raise NotFoundError(f"{out.parent}: no such folder")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error


def _require_room(repository: Repository, image: DiskImage, folder: Path) -> None:
    """Refuse, before anything is written, a folder whose free space is smaller than the data of the disk."""
    needed, free = total(repository.open_map(image.root).stored_extents()), LocalPlace(folder).free()
    if free is not None and needed > free:
        raise StoreFullError(
            f"{folder}: {size(free)} are free, and the image needs {size(needed)}; nothing was written"
        )


def _publish(temporary: Path, out: Path, *, overwrite: bool) -> None:
    try:
        if overwrite:
            temporary.replace(out)
        elif not name_if_free(temporary, out):
            raise ConflictError(f"{out}: exists already; nothing was written: give another name, or --force")
        sync_folder(out.parent)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from error
