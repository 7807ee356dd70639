"""Imports raw disk images as a restore point, and exports a disk of a point as an image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmkeep.images import export_image, import_images
from vmkeep.model.job import Progress
from vmkeep.repository import Repository

__all__ = ["Exported", "export", "import_images"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A disk of a restore point, written to a file."""

    point: str
    """The point's ref."""
    bytes_written: int


def export(
    repository: Repository,
    text: str,
    disk: int,
    out: Path,
    *,
    overwrite: bool,
    on_progress: Callable[[Progress], None],
) -> Exported:
    """Write one disk of a restore point as a sparse raw file.

    :param text: a ref, the unique beginning of an id, or ``latest:VM``.
    :param disk: the disk's number in the point, from 0, in order of device key.
    """
    point = repository.find_point(text)
    written = export_image(repository, point, disk, out, overwrite=overwrite, on_progress=on_progress)
    return Exported(point=point.ref, bytes_written=written.bytes_written)
