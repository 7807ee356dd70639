"""Facts for retention: manifests and marks of restore points, as plain values."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from vmkeep.repository import Marks, Repository
from vmkeep.repository.points import ReadPoint
from vmkeep.retention import PointFacts


def point_facts(repository: Repository, *, at: datetime, vm_keys: Collection[str] | None = None) -> list[PointFacts]:
    """Return the facts of all restore points, or of those of some keys. Reads their manifests.

    :param at: the time at which a pin with an end must still hold to count.
    :returns: sorted by VM, then by time. A point with a damaged manifest counts as not good; its time comes from its
        name.
    """
    marks = repository.marks.all()
    manifests = repository.manifests
    names = (name for name in manifests.names() if vm_keys is None or name.vm_key in vm_keys)
    found = (_facts(read, marks.get(read.name.ref, Marks()), at) for read in manifests.read(names))
    return [facts for facts in found if facts is not None]


def _facts(read: ReadPoint, marks: Marks, at: datetime) -> PointFacts | None:
    pinned = marks.pin is not None and marks.pin.holds(at)
    name, point = read.name, read.point
    if point is not None:
        return PointFacts(
            ref=name.ref,
            vm_key=name.vm_key,
            vm_name=point.vm.name,
            vcenter=point.vm.vcenter,
            moref=point.vm.moref,
            taken_at=point.taken_at,
            good=marks.good,
            pinned=pinned,
            policy=point.policy,
        )
    if name.taken_at is None:
        return None  # its name is not that of a restore point: no rule keeps or drops it
    return PointFacts(
        ref=name.ref, vm_key=name.vm_key, taken_at=name.taken_at, good=False, readable=False, pinned=pinned
    )
