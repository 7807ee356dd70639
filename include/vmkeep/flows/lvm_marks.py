"""Marks the restore points whose LVM contradicts itself, so that no increment continues them."""

from __future__ import annotations

from collections.abc import Iterable

from vmkeep.errors import NotFoundError
from vmkeep.flows.lvm_history import Before, failure_keys, same_vm
from vmkeep.flows.lvm_looks import Look, tracked
from vmkeep.flows.point_choice import points_in_order
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.repository import Repository


def mark(repository: Repository, look: Look, before: Before | None) -> tuple[tuple[str, ...], str]:
    """Mark a point as suspect, and the later points that continue its disks. Return their refs, and why none is marked.

    The newest point is then suspect, too, so that the VM's next backup reads everything. A point is left unmarked if
    its disks were read in full and the point before it had the same failures: a further full would not change anything.
    """
    images = _doubted(look)
    if before is not None and not any(map(tracked, images)) and failure_keys(look.failures) <= before.failures:
        return (), (
            f"not marked, because its disks were read in full, and {before.ref} had the same failures: look into the "
            "guest"
        )
    codes = ", ".join(dict.fromkeys(str(found.code) for found in look.failures))
    marked = _suspect(repository, look.point, images, f"its LVM contradicts itself ({codes})")
    for later, disks in _continuing(repository, look.point, images):
        reason = f"it continues {look.point.ref}, whose LVM contradicts itself ({codes})"
        marked += _suspect(repository, later, disks, reason)
    return tuple(marked), ""


def _doubted(look: Look) -> tuple[DiskImage, ...]:
    images = {image.disk.key: image for found in look.failures for image in look.images_of(found)}
    return tuple(images.values())


def _suspect(repository: Repository, point: RestorePoint, images: Iterable[DiskImage], reason: str) -> list[str]:
    try:
        for image in images:
            repository.marks.suspect(point.ref, image.disk.label, reason=reason)
    except NotFoundError:
        return []  # because it was forgotten meanwhile
    return [point.ref]


def _continuing(
    repository: Repository, point: RestorePoint, images: Iterable[DiskImage]
) -> Iterable[tuple[RestorePoint, list[DiskImage]]]:
    """Yield the later points of the VM, the oldest first, with the disks that rest on those of a point."""
    left = list(images)
    for chosen in points_in_order(repository, point.vm.key, after=point):
        later = chosen.point
        if later is None or not same_vm(later, point):
            continue
        found = [(image, later.image_of(image.disk)) for image in left]
        left = [image for image, now in found if now is not None and tracked(now)]
        resting = [now for _, now in found if now is not None and tracked(now)]
        if not resting:
            return
        yield later, resting
