"""Finds the sample that an audit reads next, in a history whose runs read shares of different sizes, or none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from vmkeep.flows.same_vm import other_vm
from vmkeep.model.audit import Audit, AuditPlan, next_audit
from vmkeep.model.point import BackupKind, DiskImage, RestorePoint
from vmkeep.repository import Repository

_LOOK_BACK: Final = 64
"""Number of points to look at. A share that was not read for longer begins a new rotation."""


def plan_audit(repository: Repository, point: RestorePoint, image: DiskImage, *, of: int) -> AuditPlan | None:
    """Return the sample to read of a disk that continues a point; ``None``: nothing is read.

    :param image: the disk in that point.
    :param of: the number of runs that together read every block; 0: none does.
    """
    last = last_audit(_images(repository, point, image), of=of) if of else None
    return next_audit(last, of=of, root=image.root)


def last_audit(images: Iterable[DiskImage], *, of: int) -> Audit | None:
    """Return the newest outcome of a rotation, among the increments since the last full read.

    Runs with another share, or without an audit, may lie between. If they began the rotation anew, then a site that
    mixes shares would read some blocks again and again, and others never.

    :param images: one disk in its points, the newest first.
    """
    for image in images:
        if image.audit is not None and image.audit.of == of:
            return image.audit
        if image.kind is BackupKind.FULL:
            break
    return None


def _images(repository: Repository, point: RestorePoint, image: DiskImage) -> Iterator[DiskImage]:
    """Yield a disk in its points, from a point back to the first that cannot be read or does not hold the disk."""
    yield image
    for read in islice(repository.newest_first(point.vm.key), _LOOK_BACK):
        older = read.point
        if older is None:
            return
        if older.ref >= point.ref or other_vm(older.vm, point.vm) is not None:
            continue
        found = older.image_of(image.disk)
        if found is None:
            return
        yield found
