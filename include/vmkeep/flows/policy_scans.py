"""Chooses the restore points of a policy that are scanned for malware after their backups."""

from __future__ import annotations

from collections.abc import Collection

from vmkeep.errors import NotFoundError
from vmkeep.flows.point_choice import newest_points, parse_point_selector
from vmkeep.flows.policy_copies import newest_announced
from vmkeep.lateclass import dataclass
from vmkeep.policy import Policy
from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class DueScan:
    """A point that is to be scanned."""

    point: str
    """Ref."""
    vm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DueScans:
    """The scans that are due."""

    scans: tuple[DueScan, ...]
    """One for each VM."""
    left: tuple[str, ...] = ()
    """A sentence for each point that cannot be scanned."""


def scans_due(repository: Repository, policy: Policy, refs: Collection[str] | None) -> DueScans:
    """Return the scans of a policy's newest points.

    :param refs: the points that were made since the last scans, also those of other policies and repositories;
        ``None``: the policy's newest point of each VM is due.
    """
    scans: list[DueScan] = []
    left: list[str] = []
    for read in newest_announced(repository, refs):
        if read.point is None:
            left.append(f"{read.name.ref} is not scanned, because it cannot be read: {read.problem}")
        elif read.point.policy == policy.name:
            scans.append(DueScan(point=read.point.ref, vm=read.point.vm.name))
    return DueScans(scans=tuple(scans), left=tuple(left))


def scans_asked_for(repository: Repository, points: Collection[str], selector: str | None) -> DueScans:
    """Return the scans of the points that a person names, and of the newest point of each VM that fits a selector.

    :raises NotFoundError: there is no such point, or no VM fits.
    """
    found = [repository.find_point(text) for text in points]
    scans = [DueScan(point=point.ref, vm=point.vm.name) for point in found]
    left = []
    if selector is not None:
        chosen = list(newest_points(repository, parse_point_selector(selector)))
        if not chosen:
            raise NotFoundError(f"no VM with a restore point in {repository.location} fits '{selector}'")
        for each in chosen:
            if each.point is None:
                left.append(f"{each.ref} is not scanned, because it cannot be read: {each.problem}")
            else:
                scans.append(DueScan(point=each.ref, vm=each.point.vm.name))
    return DueScans(scans=tuple(dict.fromkeys(scans)), left=tuple(left))
