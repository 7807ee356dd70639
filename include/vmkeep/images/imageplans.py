"""Plans the images of a point's disks: which files each has, and how much of the disk goes into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from vmkeep.errors import ConflictError, CorruptError, NotFoundError, StoreFullError, UnsupportedError, UsageError
from vmkeep.formats import Layout, plan_qcow2, plan_raw
from vmkeep.images.drafts import ExportPlace
from vmkeep.images.exportnames import disk_name
from vmkeep.model.exports import ImageFormat
from vmkeep.model.extents import Extents, gather
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.wording import counted, size
from vmkeep.repository import Repository

_Plan = Callable[[str, DiskImage, Extents], Layout]
"""Takes the name of the files without their ends, the disk, and the parts of it that hold data."""

_PLANS: Final[dict[ImageFormat, _Plan]] = {
    ImageFormat.RAW: lambda name, image, stored: plan_raw(f"{name}.raw", image.disk.capacity, stored),
    ImageFormat.QCOW2: lambda name, image, stored: plan_qcow2(f"{name}.qcow2", image.disk.capacity, stored),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """A disk of a point, with the plan of its image."""

    number: int
    """The disk's number in the point, from 0, in order of device key."""
    image: DiskImage
    layout: Layout
    stored: Extents
    """The parts of the disk that may hold data."""
    what: str
    """The disk's name in errors."""


def plan_images(
    repository: Repository, point: RestorePoint, numbers: Sequence[int], *, name: str, form: ImageFormat
) -> list[PlannedImage]:
    """Plan an image of each disk that is chosen, before anything is written.

    :param numbers: numbers of the disks; none: all of the point.
    :raises NotFoundError: the point has no disk of a number, or none at all.
    :raises UnsupportedError: the format cannot hold a disk.
    """
    images = sorted(point.images, key=lambda image: image.disk.key)
    if not images:
        raise NotFoundError(f"restore point {point.ref} has no disks")
    for number in numbers:
        if not 0 <= number < len(images):
            raise NotFoundError(
                f"restore point {point.ref} has {counted(len(images), 'disk')}, counted from 0: no disk {number}"
            )
    planned = []
    for number in sorted(set(numbers)) or range(len(images)):
        image = images[number]
        what = f"restore point {point.ref}, {image.disk.label}"
        stored = _stored(repository, image.root, what)
        layout = _PLANS[form](disk_name(name, number), image, stored)
        planned.append(PlannedImage(number=number, image=image, layout=layout, stored=stored, what=what))
    return planned


def _stored(repository: Repository, root: str, what: str) -> Extents:
    """Return the parts of a disk that may hold data, in bounded memory."""
    try:
        parts = repository.open_map(root, what=what).stored_extents()
        return gather((part.start, part.stop) for part in parts)
    except CorruptError as error:
        raise CorruptError(f"{what}, {error}") from error


def require_room(place: ExportPlace, planned: Sequence[PlannedImage], manifest: str, *, overwrite: bool) -> None:
    """Return if the images fit into a place, and their names are free there.

    :raises ConflictError: a name is taken.
    :raises UnsupportedError: a file is too large for the place.
    :raises StoreFullError: the data is larger than the free space.
    """
    names = [manifest, *(file.name for each in planned for file in each.layout.files)]
    if len(set(names)) < len(names):
        raise UsageError(f"two files of the export would be called {max(names, key=names.count)!r}; give a --name")
    if not overwrite and (taken := place.taken(names)):
        raise ConflictError(
            f"{place.location}: {taken[0]} exists already; nothing was exported: give another --name, or --force"
        )
    largest = max((file for each in planned for file in each.layout.files), key=lambda file: file.size)
    if place.largest is not None and largest.size > place.largest:
        raise UnsupportedError(
            f"{place.location}: {largest.name} would have {size(largest.size)}, and a file there {size(place.largest)} "
            "at most; nothing was exported: choose another format"
        )
    free, needed = place.free(), sum(map(_needed, planned))
    if free is not None and needed > free:
        raise StoreFullError(
            f"{place.location}: {size(free)} are free, and the export needs {size(needed)}; nothing was exported"
        )


def _needed(planned: PlannedImage) -> int:
    """Return the bytes of an image that are not holes."""
    return sum(run.length for run in planned.layout.runs())
