"""Finds the newest points of one VM, among the names of all its points.

The newest point is the one with the latest time that is not ahead of this machine's clock. A point from the future was
taken while a clock was wrong, or this machine's clock is wrong now. Such a point causes a warning, and is chosen only
if the VM has no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, groupby, islice

from vmkeep.clock import now
from vmkeep.errors import CorruptError
from vmkeep.lateclass import dataclass
from vmkeep.model.knownpoint import KnownPoint, known_point
from vmkeep.model.point import RestorePoint, settled_vcenters
from vmkeep.repository.points.manifests import Manifests, ReadPoint
from vmkeep.repository.points.pointnames import AHEAD, PointName

log = logging.getLogger(__name__)


def newest_first(manifests: Manifests, vm_key: str, names: Iterable[PointName] | None = None) -> Iterator[ReadPoint]:
    """Yield a VM's points, the newest first and those from the future last. Read each only when it is asked for.

    :param names: the names of its points, if they were listed already.
    """
    listed = manifests.names(vm_key) if names is None else names
    choice, ahead, left_out = _told_apart(manifests.location, listed)
    for warning in left_out:
        log.warning("%s", warning)
    for group in [*_by_second(choice), *_by_second(ahead)]:
        yield from sorted(manifests.read(group), key=_time_of, reverse=True)


def _time_of(read: ReadPoint) -> tuple[bool, float]:
    return read.point is None, read.point.taken_at.timestamp() if read.point else 0.0


def warn_of_the_future(ref: str, taken_at: datetime) -> str:
    """Return the warning about a point whose time is in the future."""
    return (
        f"restore point {ref} was taken in the future, at {taken_at:%Y-%m-%d %H:%M:%S} UTC: a clock was wrong then, or "
        "this machine's is now"
    )


def is_ahead(taken_at: datetime) -> bool:
    """Return whether a point's time is in the future by more than clocks usually differ."""
    return taken_at > now() + AHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The newest point of one VM, or the reason why it is not known."""

    vm_key: str
    name: PointName
    ahead: bool
    point: RestorePoint | None = None
    problem: str = ""
    left_out: tuple[str, ...] = ()
    """Warnings about the names that were left out."""

    def told(self) -> RestorePoint:
        """Return the point, after logging which others were left out.

        :raises CorruptError: the point cannot be read.
        """
        if self.point is None:
            raise CorruptError(self.problem)
        for warning in self.left_out:
            log.warning("%s", warning)
        return self.point


def newest_of(manifests: Manifests, names: Sequence[PointName]) -> Newest | None:
    """Return the newest point of one VM; if it was removed after the listing, the next one."""
    choice, ahead, left_out = _told_apart(manifests.location, names)
    past = _by_second(choice)
    for number, group in enumerate([*past, *_by_second(ahead)]):
        read = list(manifests.read(group))
        if not read:
            continue  # these points were removed after they were listed
        of = partial(Newest, vm_key=group[0].vm_key, name=group[0], ahead=number >= len(past))
        if problems := [one.problem for one in read if one.point is None]:
            return of(problem=f"{problems[0]}; {_instead(group[0], choice)}")
        points = [one.point for one in read if one.point is not None]
        return of(point=max(points, key=lambda point: point.taken_at), left_out=tuple(left_out))
    return None


def _told_apart(location: str, names: Iterable[PointName]) -> tuple[list[PointName], list[PointName], list[str]]:
    """Return the points to choose among, the points from the future, and a warning for each name that is left out."""
    choice, ahead, left_out = [], [], []
    for name in names:
        if (taken_at := name.taken_at) is None:
            left_out.append(f"{name.blob} in {location} is not a restore point")
        elif is_ahead(taken_at):
            ahead.append(name)
            left_out.append(warn_of_the_future(name.ref, taken_at))
        else:
            choice.append(name)
    return choice, ahead, left_out


def _by_second(names: Sequence[PointName]) -> list[list[PointName]]:
    """Group names by second, the newest first, because only manifests tell which of one second's points is newer."""
    ordered = sorted(names, key=lambda name: name.stamp, reverse=True)
    return [list(group) for _, group in groupby(ordered, key=lambda name: name.stamp)]


def _instead(unreadable: PointName, names: Sequence[PointName]) -> str:
    older = [name for name in names if name.stamp < unreadable.stamp]
    hint = f"name another one, e.g. {max(older, key=lambda name: name.stamp).ref}" if older else "there is no older one"
    return f"it is the newest restore point of {unreadable.vm_key}: {hint}"


def newest_names(names: Iterable[PointName]) -> list[PointName]:
    """Return the names of the newest second that is not ahead of this machine's clock; none: there is no such one."""
    for group in _by_second(list(names)):
        told = [name for name in group if name.taken_at is not None and not is_ahead(name.taken_at)]
        if told:
            return told
    return []


def newest_of_each(
    manifests: Manifests, vm_key: str, names: Iterable[PointName] | None, among: int, *, read: RestorePoint | None
) -> list[KnownPoint]:
    """Return the newest point of each VM to which the newest points of a key belong.

    A vCenter gives an instance UUID to one VM at a time. So if a managed object follows another one in one vCenter
    under the same UUID, both are one VM, which was registered again or restored. Managed objects that take turns are
    two VMs. So are VMs of two vCenters.

    :param names: the names of the key's points; ``None``: list them.
    :param among: the number of newest points to look at. Those that the catalog does not know are read.
    :param read: the one of them that the caller has just read; ``None``: none.
    """
    points = _newest_known(manifests, manifests.names(vm_key) if names is None else names, among, read)
    vcenters = settled_vcenters([point.vcenter for point in reversed(points)])[::-1]
    vms = [(vcenter, point.moref) for vcenter, point in zip(vcenters, points, strict=True)]
    turns = [vm for vm, _ in groupby(vms)]
    if len(set(vcenters)) <= 1 and len(turns) == len(set(turns)):
        return points[:1]
    return list(dict(zip(reversed(vms), reversed(points), strict=True)).values())[::-1]


def _newest_known(
    manifests: Manifests, names: Iterable[PointName], among: int, given: RestorePoint | None
) -> list[KnownPoint]:
    """Return the facts of some newest points of a key, the newest first and those from the future last."""
    choice, ahead, _ = _told_apart(manifests.location, names)
    groups = [*_by_second(choice), *_by_second(ahead)]
    chosen = list(islice(chain(*groups), among))
    known = dict(manifests.known([name.ref for name in chosen]))
    points = {} if given is None or given.ref in known else {given.ref: given}
    read = manifests.read(name for name in chosen if name.ref not in known.keys() | points.keys())
    points |= {each.name.ref: each.point for each in read if each.point is not None}
    manifests.keep_known(list(points.values()), of=len(chosen))
    known |= {ref: known_point(point) for ref, point in points.items()}
    return [
        known[ref]
        for group in groups
        for ref in sorted({name.ref for name in group} & known.keys(), key=lambda ref: known[ref].taken_at)[::-1]
    ]
