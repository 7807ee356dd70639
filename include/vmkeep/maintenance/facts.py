"""What retention has to know of a repository's restore points: their manifests and marks, as plain facts."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

from vmkeep.errors import BlobNotFoundError, CorruptError
from vmkeep.policy import PointFacts
from vmkeep.repository import Marks, Repository
from vmkeep.repository.manifests import PointName

_AT_ONCE = 16
"""Manifests read at the same time: what counts is the store's latency."""


def point_facts(repository: Repository, *, at: datetime) -> list[PointFacts]:
    """Return the facts of all restore points; reads every manifest.

    :param at: the time for which pins with an end are looked at.
    :returns: sorted by VM, then by time. A point whose manifest is damaged is not good, and its time that of its name.
    """
    names = list(repository.manifests.names())
    marks = repository.marks.all()
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        found = threads.map(lambda name: _facts(repository, name, marks, at), names)
        return [facts for facts in found if facts is not None]


def _facts(repository: Repository, name: PointName, marks: Mapping[str, Marks], at: datetime) -> PointFacts | None:
    marked = marks.get(name.ref, Marks())
    pinned = marked.pin is not None and marked.pin.holds(at)
    with suppress(BlobNotFoundError):  # deleted since it was listed
        try:
            point = repository.manifests.load(name.blob)
        except CorruptError:
            with suppress(ValueError):  # not the name of a restore point: nobody's to keep or to drop
                taken_at = datetime.strptime(name.stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
                return PointFacts(ref=name.ref, vm_key=name.vm_key, taken_at=taken_at, good=False, pinned=pinned)
            return None
        return PointFacts(
            ref=name.ref,
            vm_key=name.vm_key,
            vm_name=point.vm.name,
            taken_at=point.taken_at,
            good=marked.damage is None,
            pinned=pinned,
        )
    return None
