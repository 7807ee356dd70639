"""Chooses restore points by the VMs that a selector means. Only the points themselves are asked, no vCenter."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import groupby

from vmkeep.blobs import abreast
from vmkeep.errors import UsageError, VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.point import RestorePoint
from vmkeep.recovery import ANSWERED, KnownPoint
from vmkeep.repository import Repository
from vmkeep.repository.points import PointName, ReadPoint
from vmkeep.selection import Selector, conditions, matcher, parse_selector


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenPoint:
    """A restore point that was chosen, or the reason why it cannot be read."""

    ref: str
    point: RestorePoint | None
    problem: str = ""


def parse_point_selector(text: str) -> Selector:
    """Return a selector whose conditions restore points can answer.

    :raises SelectorError: it cannot be parsed.
    :raises UsageError: points do not tell what it asks, so that it would leave VMs out silently.
    """
    selector = parse_selector(text)
    for condition in conditions(selector):
        if condition.kind not in ANSWERED:
            raise UsageError(f"restore points do not tell what {condition.kind}: asks; choose by {', '.join(ANSWERED)}")
    return selector


def names_of_vms(repository: Repository) -> dict[str, list[PointName]]:
    """Return the names of the points of every VM and imported image by its key, sorted. One list tells all."""
    found: dict[str, list[PointName]] = {}
    for name in repository.manifests.names():
        if name.taken_at is not None and not is_host_key(name.vm_key):
            found.setdefault(name.vm_key, []).append(name)
    return dict(sorted(found.items()))


def newest_points(repository: Repository, selector: Selector | None = None) -> Iterator[ChosenPoint]:
    """Yield the newest point of each VM that fits a selector, several at a time. VMs that share a key have one each.

    A newest point that cannot be read is yielded, too, unless an older one tells that its VM does not fit.

    :param selector: see :func:`parse_point_selector`; ``None``: every VM fits.
    """

    def of_vm(listed: tuple[str, list[PointName]]) -> list[ChosenPoint]:
        return newest_of_key(repository, selector, listed[0], listed[1])

    for found in abreast(repository.blobs, of_vm, names_of_vms(repository).items()):
        yield from found


def newest_of_key(
    repository: Repository, selector: Selector | None, key: str, names: Collection[PointName] | None = None
) -> list[ChosenPoint]:
    """Return the newest point of each VM that has a key and fits; see :func:`newest_points`.

    :param names: the names of the key's points, if they were listed already.
    """
    fits = matcher(selector) if selector is not None else lambda _facts: True
    chosen = []
    for ref in repository.latest_refs(key, names):
        found = load(repository, ref)
        known = found.point or _older(repository, key, names)
        if known is None or fits(_known(known).facts):
            chosen.append(found)
    return chosen


def points_in_order(
    repository: Repository, key: str, *, after: RestorePoint | None = None, before: RestorePoint | None = None
) -> Iterator[ChosenPoint]:
    """Yield points of a key, each read when it is asked for. A point that was removed meanwhile is left out.

    :param after: only points that are later than this one, the oldest first; ``None``: all points.
    :param before: only points that are earlier than this one, the newest first; ``None``: all points.
    """
    newest_first = before is not None
    known = {point.ref for point in (after, before) if point is not None}
    names = [
        name
        for name in repository.manifests.names(key)
        if name.taken_at is not None
        and name.ref not in known
        and (after is None or name.stamp >= after.stamp)
        and (before is None or name.stamp <= before.stamp)
    ]
    ordered = sorted(names, key=lambda name: name.stamp, reverse=newest_first)
    for _, second in groupby(ordered, key=lambda name: name.stamp):  # only manifests tell the order within one second
        for read in sorted(repository.manifests.read(second), key=_time_of, reverse=newest_first):
            if read.point is None or (
                (after is None or read.point.taken_at > after.taken_at)
                and (before is None or read.point.taken_at < before.taken_at)
            ):
                yield ChosenPoint(ref=read.name.ref, point=read.point, problem=read.problem)


def _time_of(read: ReadPoint) -> float:
    return read.point.taken_at.timestamp() if read.point else 0.0


def load(repository: Repository, ref: str) -> ChosenPoint:
    """Read one point by its full ref. An error of the point is told in the result; one of the store is raised."""
    [(_, found)] = repository.load_points([ref])
    if isinstance(found, VmKeepError):
        return ChosenPoint(ref=ref, point=None, problem=str(found))
    return ChosenPoint(ref=ref, point=found)


def _older(repository: Repository, key: str, names: Collection[PointName] | None) -> RestorePoint | None:
    """Return the newest point of a key that can be read."""
    return next((read.point for read in repository.newest_first(key, names) if read.point is not None), None)


def _known(point: RestorePoint) -> KnownPoint:
    return KnownPoint(
        ref=point.ref,
        taken_at=point.taken_at,
        vm_name=point.vm.name,
        vm_key=point.vm.key,
        vcenter=point.vm.vcenter,
        moref=point.vm.moref,
        inventory_path=point.vm.inventory_path,
        addresses=point.vm.addresses,
        dns_name=point.vm.dns_name,
    )
