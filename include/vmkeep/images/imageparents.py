"""Finds the restore point that the changes of an image continue. It is always the one that the caller names.

The newest point by its time may be another one than the caller means, after a step of the clock or when two imports run
at once. Then the new point would mix two states, and nothing could detect that later.
"""

from __future__ import annotations

from pathlib import Path

from vmkeep.errors import UsageError
from vmkeep.model.disk import Disk
from vmkeep.model.imagekeys import image_key
from vmkeep.model.point import DiskImage, RestorePoint
from vmkeep.repository import Repository

_LATEST = "latest"


def check_parent(name: str, since: str | None, *, given: bool) -> None:
    """Return if extents and the point that they are relative to are given together. Asks no store.

    :param name: the machine's name.
    :param since: the caller's text for the point.
    :param given: there are extents.
    :raises UsageError: one is given without the other, or the text may mean another point than the caller does.
    """
    if not given:
        if since is not None:
            raise UsageError("--since names the point that --extents are relative to: give both, or neither")
        return
    if not since:
        raise UsageError(
            f"--extents tells changes since a restore point: name that one with --since POINT, as the import that "
            f"made it has printed it ('vmkeep point list --vm {image_key(name)}' lists them); or import without extents"
        )
    if since == _LATEST or since.startswith(f"{_LATEST}:"):
        raise UsageError(
            f"--since {since}: the newest point by its clock may be another one than the extents are relative to; "
            "name the point itself, as the import that made it has printed it"
        )


def find_parent(repository: Repository, name: str, since: str) -> RestorePoint:
    """Return the point that the extents of an import are relative to.

    Call it in a try, so that the seal notices what a prune takes of the point from then on.

    :raises UsageError: the point is of another machine, or damaged.
    """
    parent = repository.find_point(since)
    if parent.vm.name != name or not parent.vm.is_imported:
        raise UsageError(f"--since: {parent.ref} is a point of '{parent.vm.name}', and not of images named '{name}'")
    if repository.marks.damage_of(parent.ref) is not None:
        raise UsageError(f"{parent.ref} is marked damaged, and changes cannot continue it; import without extents")
    return parent


def parent_image(parent: RestorePoint, number: int, disk: Disk, path: Path) -> DiskImage:
    """Return the disk of a point that an image continues.

    :param number: number of the image, from 0.
    :raises UsageError: the point has no such disk, or its disk has another size.
    """
    image = next((image for image in parent.images if image.disk.key == disk.key), None)
    if image is None:
        raise UsageError(f"{path}: restore point {parent.ref} has no disk {number}; import it without extents")
    if image.disk.capacity != disk.capacity:
        raise UsageError(
            f"{path}: has {disk.capacity} bytes, but {image.disk.capacity} in restore point {parent.ref}; import it "
            "without extents"
        )
    return image
