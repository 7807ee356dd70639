"""Chooses the restore points of a policy that a second repository gets, and copies them until a given time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from vmkeep.clock import now
from vmkeep.errors import CancelledError
from vmkeep.flows.pointcopy import CopyState, PointCopy, copy_points
from vmkeep.model.job import Progress
from vmkeep.repository import Repository
from vmkeep.repository.points import PointName


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCopies:
    """The outcome of bringing a policy's points to a second repository."""

    target: str
    """The name by which the caller knows the repository."""
    copied: int = 0
    bytes_stored: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Ref → why the point could not be copied."""
    left: tuple[str, ...] = ()
    """Refs of points that wait for the next time, because the time was up."""


def points_to_copy(source: Repository, target: Repository, policy: str) -> list[str]:
    """Return the refs of a policy's points that the target is to get, oldest first.

    These are, for each VM, the points that are newer than its newest one in the target. So points that did not arrive
    earlier follow, and points that the target's retention has forgotten do not come back. A VM that the target does
    not have yet begins with its newest point.
    """
    newest = {key: times[-1] for key, times in _times(target.manifests.names()).items()}
    wanted = _of_each_vm(source.manifests.names(), newest)
    points = [read.point for read in source.manifests.read(wanted) if read.point is not None]
    return [point.ref for point in sorted(points, key=lambda point: point.taken_at) if point.policy == policy]


def copy_until(
    source: Repository,
    target: Repository,
    refs: Iterable[str],
    *,
    name: str,
    until: datetime | None,
    on_progress: Callable[[Progress], None],
) -> PolicyCopies:
    """Copy points one after the other. A point whose copy is not done in time is begun anew at the next time.

    :param name: the name by which the caller knows the target.
    :param until: the time at which the copying ends; ``None``: it has no end.
    """

    def check() -> None:
        if until is not None and now() >= until:
            raise _TimeUpError("the time for copies is up")

    waiting = list(refs)
    done: list[PointCopy] = []
    try:
        while waiting:
            check()
            done += copy_points(source, target, waiting[:1], on_progress=on_progress, check=check).points
            del waiting[0]
    except _TimeUpError:
        pass
    return PolicyCopies(
        target=name,
        copied=sum(each.state is CopyState.COPIED for each in done),
        bytes_stored=sum(each.bytes_stored for each in done),
        failed={each.ref: each.problem or "" for each in done if each.state is CopyState.FAILED},
        left=tuple(waiting),
    )


class _TimeUpError(CancelledError):
    """The copying was to end now."""


def _of_each_vm(names: Iterable[PointName], newest: dict[str, datetime]) -> Iterator[PointName]:
    of_key: dict[str, list[PointName]] = {}
    for name in names:
        if name.taken_at is not None:
            of_key.setdefault(name.vm_key, []).append(name)
    for key, of_vm in of_key.items():
        of_vm.sort(key=_time_of)
        yield from (name for name in of_vm if _time_of(name) > newest[key]) if key in newest else of_vm[-1:]


def _time_of(name: PointName) -> datetime:
    assert name.taken_at is not None
    return name.taken_at


def _times(names: Iterable[PointName]) -> dict[str, list[datetime]]:
    times: dict[str, list[datetime]] = {}
    for name in names:
        if name.taken_at is not None:
            times.setdefault(name.vm_key, []).append(name.taken_at)
    return {key: sorted(found) for key, found in times.items()}
