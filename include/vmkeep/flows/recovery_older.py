"""Finds the next older good point of a VM, for a recovery whose chosen point turned out damaged while it was restored.

The rules of the VM's group hold for the older point, too.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from vmkeep.flows.recovery_points import known_points
from vmkeep.model.site import Site
from vmkeep.recovery import UNREADABLE, ChosenVm, KnownPoint, RecoveryGroup, allowed_points
from vmkeep.repository import Repository

log = logging.getLogger(__name__)


def step_back(
    site: Site, repository: Repository, group: RecoveryGroup, vm: ChosenVm, *, not_after: datetime | None
) -> ChosenVm | None:
    """Return a VM with the newest good point that is older than its present one; ``None``: there is none.

    :param not_after: no point that is younger is taken, whatever the group says.
    """
    points, unread = known_points(repository, catalog=site.catalog or "sqlite://")
    for line in unread:
        log.warning("a restore point cannot be read: %s", line)
    vcenters = {point.vcenter for point in points if point.ref == vm.point}
    own = [
        point
        for point in points
        if point.vm_key == vm.vm_key and point.taken_at < vm.taken_at and vcenters <= {point.vcenter}
    ]
    older = sorted(allowed_points(group, own, not_after=not_after), key=lambda point: point.taken_at, reverse=True)
    found = next((point for point in older if not point.doubt and _is_readable(repository, point)), None)
    return None if found is None else replace(vm, point=found.ref, taken_at=found.taken_at)


def stepped_back_line(newer: ChosenVm, older: ChosenVm, error: Exception) -> str:
    """Return the sentence that tells of an older point."""
    return f"point {newer.point} turned out damaged, so that the older {older.point} is restored: {error}"


def _is_readable(repository: Repository, point: KnownPoint) -> bool:
    try:
        repository.load_point(point.ref)
    except UNREADABLE as error:
        log.warning("%s cannot be read: %s", point.ref, error)
        return False
    return True
