"""Reads the fleet for the pages of the web view: every VM with its newest point, in all catalogs of an installation.

A page reads catalogs only. It opens no repository and asks no vCenter, because a page must come while both are busy
or gone. A catalog that cannot be read hides no other one: its error is part of the answer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from vmkeep.catalog import (
    BadPoint,
    ListedDisk,
    ListedPoint,
    NotedFailure,
    NotedMark,
    NotedProof,
    NotedRepository,
    NotedVm,
    Overview,
    VmSummary,
    open_catalog,
)
from vmkeep.errors import CatalogError, NotFoundError
from vmkeep.lateclass import dataclass
from vmkeep.model.imagekeys import is_image_key
from vmkeep.policy import Policy

__all__ = [
    "BadPoint", "Fleet", "FleetVm", "ListedDisk", "ListedPoint", "NotedMark", "NotedProof", "NotedRepository",
    "VmPoints", "find_point", "load_fleet", "load_points", "load_trends", "load_vm",
]  # fmt: skip

TREND: Final = 14
"""Points of which a row of the fleet shows the trend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetVm:
    """A VM of the fleet, with or without points."""

    name: str
    vm_key: str | None
    """``None``: it has no point."""
    policy: str
    """The policy that has it now, or that asked for its newest point; empty: none."""
    is_in_policy: bool
    """Whether that policy is there now, without faults, and has the VM as far as anybody knows."""
    obstacle: str | None
    repository: str | None
    """The repository that has its newest good point."""
    repositories: int
    """Number of repositories that have points of it."""
    ref: str | None
    newest: datetime | None
    max_age: timedelta | None
    """The age from which its policy takes the newest good point for too old."""
    proved: datetime | None
    capacity: int
    bytes_stored: int
    points: int
    bad: int
    asked_by: str = ""
    """The policy that asked for its newest good point; empty: a person did, or there is none."""
    counting: tuple[str, ...] = ()
    """The kinds of proofs of which ``proved`` is the last: those that its policy counts."""
    place: str = ""
    """Where a look at a vCenter found it: the host of the vCenter, and the managed object id; empty: nowhere."""
    failed: tuple[str, ...] = ()
    """The kinds of checks that one of its points has failed, and that none has passed since."""
    fault: BadPoint | None = None
    """The newest point, if it is not good; ``None``: it is, or none is there."""
    is_exported: bool = False
    """Its policy exports its points, as long as they are good."""

    @property
    def is_image(self) -> bool:
        """Whether it is an imported image, and no VM that could be backed up."""
        return self.vm_key is not None and is_image_key(self.vm_key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All VMs that catalogs and the last looks at vCenters know."""

    vms: tuple[FleetVm, ...]
    repositories: tuple[NotedRepository, ...]
    problems: tuple[str, ...] = ()
    """A sentence for each catalog that could not be read."""
    catalogs: int = 0
    """Number of catalogs that were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmPoints:
    """Some points of one VM, the newest first."""

    vm_key: str
    vm: FleetVm | None
    """The VM as the fleet lists it; ``None``: only older programs entered its points."""
    points: tuple[ListedPoint, ...]
    total: int
    first: int
    """Number of newer points that are left out."""
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    summaries: list[VmSummary] = field(default_factory=list)
    vms: list[tuple[str, NotedVm]] = field(default_factory=list)
    failures: list[NotedFailure] = field(default_factory=list)
    repositories: list[NotedRepository] = field(default_factory=list)
    places: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The places of VMs by their keys; see :meth:`vmkeep.catalog.Overview.places`."""

    def add_places(self, overview: Overview, summaries: Iterable[VmSummary]) -> None:
        """Ask for the places of VMs."""
        for key, place in overview.places(list(summaries)).items():
            self.places[key].add(place)


def load_fleet(
    catalogs: Iterable[str],
    policies: Sequence[Policy],
    now: datetime,
    *,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Fleet:
    """Return all VMs, in no order.

    :param catalogs: their SQLAlchemy URLs.
    :param policies: those without faults, for their demands.
    :param names: words for the repositories of a catalog, by its URL. A repository that was looked at tells its own.
    """
    found = _Found()
    problems: list[str] = []
    read = 0
    for url in dict.fromkeys(catalogs):
        try:
            with open_catalog(url) as cache:
                overview = cache.overview()
                summaries, vms = overview.summaries(now), overview.noted_vms()
                found.summaries += summaries
                found.vms += vms
                found.failures += overview.failures()
                found.repositories += [
                    replace(each, location=each.location or names.get(url)) for each in overview.repositories()
                ]
                known = {_key_of(vm) for _, vm in vms}
                found.add_places(overview, (each for each in summaries if each.vm_key not in known))
                read += 1
        except CatalogError as error:
            problems.append(str(error))
    return Fleet(
        vms=tuple(_vms_of(found, {policy.name: policy for policy in policies})),
        repositories=tuple(found.repositories),
        problems=tuple(problems),
        catalogs=read,
    )


def load_trends(catalogs: Iterable[str], vms: Sequence[FleetVm]) -> dict[str, list[int]]:
    """Return the bytes that the newest points of some VMs have stored, the oldest first, by the VM's key."""
    wanted = [(vm.repository, vm.vm_key) for vm in vms if vm.repository and vm.vm_key]
    found: dict[str, list[int]] = {}
    for url in dict.fromkeys(catalogs) if wanted else ():
        try:
            with open_catalog(url) as cache:
                trends = cache.overview().trends(wanted, TREND)
        except CatalogError:  # the fleet has named it already
            continue
        found |= {key: values for (_, key), values in trends.items()}
    return found


def load_vm(
    catalogs: Iterable[str], vm_key: str, policies: Sequence[Policy], now: datetime, *, first: int = 0, most: int = 100
) -> VmPoints:
    """Return a VM, and some of its points, the newest first.

    Points in several databases are numbered one database after the other, because each database numbers its own.

    :param policies: those without faults, for their demands.
    :param first: number of newer points that are left out.
    :raises NotFoundError: no catalog has a point of the VM.
    :raises CatalogError: no catalog can be read.
    """
    points: list[ListedPoint] = []
    found = _Found()
    total = 0

    def ask(url: str) -> None:
        nonlocal total
        with open_catalog(url) as cache:
            overview = cache.overview()
            number = overview.count(vm_key)
            skipped = max(0, first - total)
            if number > skipped and len(points) < most:
                points.extend(overview.points(vm_key, first=skipped, most=most - len(points)))
            total += number
            found.summaries += overview.summaries(now, vm_key)
            found.add_places(overview, found.summaries)
            found.vms += overview.noted_vms(vm_key, found.places[vm_key])
            found.failures += overview.failures(vm_key)

    problems = _ask_each(catalogs, ask)
    if not total:
        raise NotFoundError(f"no catalog has a restore point of the VM '{vm_key}'")
    vms = (vm for vm in _vms_of(found, {policy.name: policy for policy in policies}) if vm.vm_key == vm_key)
    return VmPoints(
        vm_key=vm_key, vm=next(vms, None), points=tuple(points), total=total, first=first, problems=problems
    )


def find_point(catalogs: Iterable[str], point_id: str) -> tuple[str, int]:
    """Return the key of a point's VM, and the number of the VM's newer points.

    :raises NotFoundError: no catalog has the point.
    :raises CatalogError: no catalog can be read.
    """
    found: list[tuple[str, int]] = []

    def ask(url: str) -> None:
        if not found:
            with open_catalog(url) as cache:
                found.extend(filter(None, [cache.overview().place_of(point_id)]))

    _ask_each(catalogs, ask)
    if not found:
        raise NotFoundError(f"no catalog has a restore point '{point_id}'")
    return found[0]


def load_points(catalogs: Iterable[str], *point_ids: str) -> tuple[ListedPoint, ...]:
    """Return points, in the order of their ids.

    :raises NotFoundError: no catalog has one of them.
    :raises CatalogError: no catalog can be read.
    """
    found: dict[str, ListedPoint] = {}

    def ask(url: str) -> None:
        if wanted := set(point_ids) - set(found):
            with open_catalog(url) as cache:
                found.update(cache.overview().points_named(wanted))

    _ask_each(catalogs, ask)
    for each in point_ids:
        if each not in found:
            raise NotFoundError(f"no catalog has a restore point '{each}'")
    return tuple(found[each] for each in point_ids)


def _ask_each(catalogs: Iterable[str], ask: Callable[[str], None]) -> tuple[str, ...]:
    """Ask each catalog. Return the errors of those that cannot be read, unless none can.

    :raises CatalogError: no catalog can be read.
    """
    problems: list[CatalogError] = []
    asked = 0
    for url in dict.fromkeys(catalogs):
        try:
            ask(url)
            asked += 1
        except CatalogError as error:
            problems.append(error)
    if problems and not asked:
        raise problems[0]
    return tuple(map(str, problems))


def _vms_of(found: _Found, policies: Mapping[str, Policy]) -> list[FleetVm]:
    """Join the VMs of the last looks with those that have points."""
    by_key: defaultdict[str, list[VmSummary]] = defaultdict(list)
    for summary in found.summaries:
        by_key[summary.vm_key].append(summary)
    failed: defaultdict[str, set[str]] = defaultdict(set)
    for failure in found.failures:
        failed[failure.vm_key].add(failure.kind)
    noted, without = _best(found.vms)
    vms = []
    for key, summaries in by_key.items():
        # A VM that was backed up since the last look had no point then, and is found by its place.
        places = [without.pop(each) for each in found.places[key] if each in without]
        known = noted.pop(key, None) or next(iter(places), None)
        vms.append(_with_points(summaries, known, policies, failed[key]))
    vms += [_without_points(each, policies) for each in (*without.values(), *noted.values())]
    return vms


def _best(vms: Iterable[tuple[str, NotedVm]]) -> tuple[dict[str, NotedVm], dict[str, NotedVm]]:
    """Return each VM once: those that had a point by key, and the others by place.

    The look at each repository tells of all VMs of its vCenters. The one that knows a point knows the VM best.
    """
    best: dict[str, NotedVm] = {}
    for _, vm in vms:
        known = best.get(vm.vm)
        if known is None or _knows(vm) > _knows(known):
            best[vm.vm] = vm
    by_key: dict[str, NotedVm] = {}
    without: dict[str, NotedVm] = {}
    for vm in best.values():
        if vm.ref is None:
            without[vm.vm] = vm
            continue
        key = _key_of(vm)
        if key not in by_key or _knows(vm) > _knows(by_key[key]):
            by_key[key] = vm
    return by_key, without


def _key_of(vm: NotedVm) -> str:
    """Return the key of a VM that had a point; empty: it had none."""
    return (vm.ref or "").rpartition("/")[0]


def _knows(vm: NotedVm) -> tuple[bool, bool, bool, int]:
    return vm.ref is not None, vm.asked, bool(vm.policy), vm.proved or 0


def _with_points(
    summaries: Sequence[VmSummary], noted: NotedVm | None, policies: Mapping[str, Policy], failed: Iterable[str]
) -> FleetVm:
    newest = max(summaries, key=lambda each: (each.newest is not None, each.newest or datetime.min.replace(tzinfo=UTC)))
    policy = noted.policy if noted is not None and noted.asked else newest.policy
    return FleetVm(
        name=newest.vm_name,
        vm_key=newest.vm_key,
        policy=policy,
        is_in_policy=policy in policies,
        obstacle=noted.obstacle if noted else None,
        repository=newest.repository,
        repositories=len(summaries),
        ref=newest.ref,
        newest=newest.newest,
        max_age=policies[policy].max_age if policy in policies else None,
        proved=datetime.fromtimestamp(noted.proved, UTC) if noted and noted.proved else None,
        capacity=newest.capacity,
        bytes_stored=sum(each.bytes_stored for each in summaries),
        points=sum(each.points for each in summaries),
        bad=sum(each.bad for each in summaries),
        asked_by=newest.policy,
        counting=_counting(policies.get(policy)),
        place=noted.vm if noted is not None and noted.asked else "",
        failed=tuple(sorted(failed)),
        fault=_newer_fault(summaries, newest.newest),
        is_exported=policy in policies and bool(policies[policy].exports),
    )


def _counting(policy: Policy | None) -> tuple[str, ...]:
    return tuple(sorted(kind.value for kind in policy.verification.counting)) if policy is not None else ()


def _newer_fault(summaries: Sequence[VmSummary], good: datetime | None) -> BadPoint | None:
    """Return the newest point that is not good, unless a good one, or a good copy of it, is as new."""
    bad = [each.newest_bad for each in summaries if each.newest_bad is not None]
    newest = max(bad, key=lambda each: each.at, default=None)
    return newest if newest is not None and (good is None or newest.at > good) else None


def _without_points(vm: NotedVm, policies: Mapping[str, Policy]) -> FleetVm:
    return FleetVm(
        name=vm.name,
        vm_key=None,
        policy=vm.policy,
        is_in_policy=vm.policy in policies,
        obstacle=vm.obstacle,
        repository=None,
        repositories=0,
        ref=None,
        newest=None,
        max_age=policies[vm.policy].max_age if vm.policy in policies else None,
        proved=None,
        capacity=0,
        bytes_stored=0,
        points=0,
        bad=0,
        counting=_counting(policies.get(vm.policy)),
        place=vm.vm if vm.asked else "",
    )
