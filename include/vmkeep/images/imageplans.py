"""Plans the images of a point's disks: which files each has, and how much of the disk goes into them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from vmkeep.errors import ConflictError, CorruptError, StoreFullError, UnsupportedError, UsageError
from vmkeep.formats import PlannedFile, VmdkAdapter, VmdkFacts, VmdkKind, plan_qcow2, plan_raw, plan_vmdk
from vmkeep.images.drafts import ExportPlace
from vmkeep.images.exportnames import disk_name
from vmkeep.images.laidout import LaidOutImage
from vmkeep.images.streamed import StreamedImage
from vmkeep.lateclass import dataclass
from vmkeep.model.exports import ImageFormat
from vmkeep.model.extents import Extents, gather
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.model.sinks import Sink
from vmkeep.model.wording import size
from vmkeep.repository import Repository
from vmkeep.transfer.progress import OnProgress


class ImagePlan(Protocol):
    """The files of an image, and the way to write them."""

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The files. The first is the one that a person names to open the image."""

    @property
    def known(self) -> bool:
        """Whether the files will have the planned sizes; otherwise these are the most that they can have."""

    def needed(self) -> int:
        """Return the bytes that the image takes at least; holes take none."""

    def write(
        self,
        repository: Repository,
        root: str,
        sinks: Sequence[Sink],
        *,
        on_progress: OnProgress,
        check: Callable[[], None],
        what: str,
    ) -> int:
        """Write a stored disk into its image, and finish the files. Return the bytes of data.

        :param sinks: one for each file, in order.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedImage:
    """A disk of a point, with the plan of its image."""

    number: int
    """The disk's number in the point, from 0, in order of device key."""
    image: DiskImage
    plan: ImagePlan
    what: str
    """The disk's name in errors."""


def _vmdk(kind: VmdkKind) -> Callable[[str, DiskImage, Extents], ImagePlan]:
    return lambda name, image, stored: LaidOutImage(
        plan_vmdk(kind, _facts(name, image), capacity=image.disk.capacity, stored=stored)
    )


def _facts(name: str, image: DiskImage) -> VmdkFacts:
    """Return the facts about a disk that a descriptor repeats."""
    adapter = VmdkAdapter.of(image.disk.controller, image.disk.controller_type)
    return VmdkFacts(name=name, adapter=adapter, uuid=image.disk.uuid)


_PLANS: Final[dict[ImageFormat, Callable[[str, DiskImage, Extents], ImagePlan]]] = {
    ImageFormat.RAW: lambda name, image, stored: LaidOutImage(plan_raw(f"{name}.raw", image.disk.capacity, stored)),
    ImageFormat.QCOW2: lambda name, image, stored: LaidOutImage(
        plan_qcow2(f"{name}.qcow2", image.disk.capacity, stored)
    ),
    ImageFormat.FLAT: _vmdk(VmdkKind.FLAT),
    ImageFormat.THIN: _vmdk(VmdkKind.THIN),
    ImageFormat.SPLIT: _vmdk(VmdkKind.SPLIT),
    **dict.fromkeys(
        (ImageFormat.STREAM, ImageFormat.OVF, ImageFormat.OVA),
        lambda name, image, stored: StreamedImage(_facts(name, image), image.disk.capacity, stored),
    ),
}
"""By format, the planning of an image from the name of its files without their ends, the disk, and its stored parts."""


def plan_images(
    repository: Repository, point: RestorePoint, numbers: Sequence[int], *, name: str, form: ImageFormat
) -> list[PlannedImage]:
    """Plan an image of each disk that is chosen, before anything is written.

    :param numbers: numbers of the disks; none: all of the point.
    :raises NotFoundError: the point has no disk of a number, or none at all.
    :raises UnsupportedError: the format cannot hold a disk.
    """
    planned = []
    for number, image in point.chosen(numbers).items():
        what = f"restore point {point.ref}, {image.disk.label}"
        stored = _stored(repository, image.root, what)
        plan = _PLANS[form](disk_name(name, number), image, stored)
        planned.append(PlannedImage(number=number, image=image, plan=plan, what=what))
    return planned


def _stored(repository: Repository, root: str, what: str) -> Extents:
    """Return the parts of a disk that may hold data, in bounded memory."""
    try:
        parts = repository.open_map(root, what=what).stored_extents()
        return gather((part.start, part.stop) for part in parts)
    except CorruptError as error:
        raise CorruptError(f"{what}, {error}") from error


def require_room(
    place: ExportPlace,
    planned: Sequence[PlannedImage],
    files: Sequence[PlannedFile],
    beside: Sequence[str],
    *,
    overwrite: bool,
) -> None:
    """Return if the images fit into a place, and their names are free there.

    :param files: the files that hold the images.
    :param beside: names of the other files of the export.
    :raises ConflictError: a name is taken.
    :raises UnsupportedError: a file is too large for the place.
    :raises StoreFullError: the data is larger than the free space.
    """
    names = [*beside, *(file.name for file in files)]
    if len(set(names)) < len(names):
        raise UsageError(f"two files of the export would be called {max(names, key=names.count)!r}; give a --name")
    if not overwrite and (taken := place.taken(names)):
        raise ConflictError(
            f"{place.location}: {taken[0]} exists already; nothing was exported: give another --name, or --force (in "
            "Airflow, the fields name and overwrite)"
        )
    largest = max(files, key=lambda file: file.size)
    if place.largest is not None and largest.size > place.largest:
        raise UnsupportedError(
            f"{place.location}: {largest.name} would have {size(largest.size)}, and a file there {size(place.largest)} "
            "at most; nothing was exported: choose another format"
        )
    free, needed = place.free(), sum(each.plan.needed() for each in planned)
    if free is not None and needed > free:
        raise StoreFullError(
            f"{place.location}: {size(free)} are free, and the export needs {size(needed)}; nothing was exported"
        )
