"""Facts for retention: manifests, marks and uses of restore points, as plain values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from vmkeep.clock import now
from vmkeep.repository import Marks, Repository, Use, used_words
from vmkeep.repository.points import ReadPoint
from vmkeep.retention import PointFacts


def point_facts(
    repository: Repository,
    *,
    at: datetime,
    vm_keys: Collection[str] | None = None,
    store_time: datetime | None = None,
    marks: Mapping[str, Marks] | None = None,
) -> list[PointFacts]:
    """Return the facts of all restore points, or of those of some keys. Reads their manifests.

    :param at: the time at which a pin with an end must still hold to count.
    :param store_time: now, by the store's clock, to count the uses of points; ``None``: by this machine's clock.
    :param marks: the marks of these points, if the caller has just read them.
    :returns: sorted by VM, then by time. A point with a damaged manifest counts as not good; its time comes from its
        name.
    """
    if marks is None:
        marks = repository.marks.all() if vm_keys is None else repository.marks.of_vms(vm_keys)
    uses = repository.uses.all(time=store_time or now())
    manifests = repository.manifests
    names = manifests.names() if vm_keys is None else manifests.names_of(vm_keys)
    found = (
        _facts(read, marks.get(read.name.ref, Marks()), uses.get(read.name.blob, ()), at)
        for read in manifests.read(names)
    )
    return [facts for facts in found if facts is not None]


def _facts(read: ReadPoint, marks: Marks, uses: Sequence[Use], at: datetime) -> PointFacts | None:
    pinned = marks.pin is not None and marks.pin.holds(at)
    in_use = used_words(uses) if uses else ""
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
            in_use=in_use,
            policy=point.policy,
        )
    if name.taken_at is None:
        return None  # its name is not that of a restore point: no rule keeps or drops it
    return PointFacts(
        ref=name.ref,
        vm_key=name.vm_key,
        taken_at=name.taken_at,
        good=False,
        readable=False,
        pinned=pinned,
        in_use=in_use,
    )
