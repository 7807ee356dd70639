"""Chooses the restore points of a policy that a second repository gets, and copies them until a given time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import field
from datetime import datetime

from vmkeep.clock import now
from vmkeep.errors import CancelledError, CorruptError, NotFoundError
from vmkeep.flows.copy_values import CopyState, PointCopy
from vmkeep.flows.pointcopy import copy_points, require_pair
from vmkeep.lateclass import dataclass
from vmkeep.model.job import Progress, from_json, to_json
from vmkeep.repository import Repository
from vmkeep.repository.notes import OWED_COPIES
from vmkeep.repository.points import PointName, ReadPoint, is_ahead

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCopies:
    """The outcome of bringing a policy's points to a second repository."""

    target: str
    """The name by which the caller knows the repository."""
    repository: str = ""
    """Id of the repository; empty: it was not opened."""
    copied: int = 0
    bytes_stored: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    """Ref → why the point could not be copied."""
    left: tuple[str, ...] = ()
    """Refs of points that wait for the next time, because the time was up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedCopy:
    """A point that could not be copied, while newer ones of its VM were. The target keeps a note of it."""

    policy: str
    ref: str

    @property
    def name(self) -> str:
        """The name of the note."""
        return hashlib.sha256(f"{self.policy}\n{self.ref}".encode()).hexdigest()[:32]


def points_to_copy(source: Repository, target: Repository, policy: str) -> list[str]:
    """Return the refs of a policy's points that the target is to get, oldest first.

    These are, for each VM, the points that are newer than its newest one in the target, and those that failed before.
    So points that did not arrive earlier follow, and points that the target's retention has forgotten do not come back.
    A VM that the target does not have yet begins with the policy's newest point. A point whose time is in the future
    holds up no other. A point that cannot be read is among the refs, because its copy has to fail aloud.

    :raises UsageError: both are one repository, which is no second copy, though nothing is missing in it.
    :raises UnsupportedError: they differ in block size.
    """
    require_pair(source, target)
    there, newest = set(), dict[str, datetime]()
    for name in target.manifests.names():
        there.add(name.ref)
        if (at := name.taken_at) is not None and not is_ahead(at):
            newest[name.vm_key] = max(at, newest.get(name.vm_key, at))
    of_vms = by_vm(source.manifests.names())
    known = {ref.rpartition("/")[0] for ref in there} & of_vms.keys()
    later = [name for key in known for name in of_vms[key] if key not in newest or _time_of(name) > newest[key]]
    read = list(source.manifests.read(name for name in later if name.ref not in there))
    read += newest_with_policy(source, [names for key, names in of_vms.items() if key not in known], only=policy)
    wanted = {one.name.ref: one.name.stamp for one in read if one.point is not None and one.point.policy == policy}
    unread = [one.name for one in read if one.point is None]
    wanted |= {name.ref: name.stamp for name in unread if _policy_of(source, name.vm_key) == policy}
    wanted |= {ref: ref.rpartition("/")[2] for ref in _owed(target, policy)}
    return sorted(wanted, key=lambda ref: (wanted[ref], ref))


def copy_until(
    source: Repository,
    target: Repository,
    refs: Iterable[str],
    *,
    policy: str,
    name: str,
    until: datetime | None,
    on_progress: Callable[[Progress], None],
) -> PolicyCopies:
    """Copy points one after the other. A point whose copy is not done in time is begun anew at the next time.

    A point that fails is noted in the target, because newer points of its VM would hide that it is missing.

    :param policy: name of the policy of the points.
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
            (copied,) = copy_points(source, target, waiting[:1], on_progress=on_progress, check=check).points
            _note(target, OwedCopy(policy=policy, ref=waiting.pop(0)), copied.state)
            done.append(copied)
    except _TimeUpError:
        pass
    return PolicyCopies(
        target=name,
        repository=target.id,
        copied=sum(each.state is CopyState.COPIED for each in done),
        bytes_stored=sum(each.bytes_stored for each in done),
        failed={each.ref: each.problem or "" for each in done if each.state is CopyState.FAILED},
        left=tuple(waiting),
    )


class _TimeUpError(CancelledError):
    """The copying was to end now."""


def _note(target: Repository, owed: OwedCopy, state: CopyState) -> None:
    """Note that a point is missing in the target; or forget that, because it has arrived, or is gone."""
    area = target.run(OWED_COPIES)
    if state is CopyState.FAILED:
        area.store(owed.name, to_json(owed))
    else:
        area.discard(owed.name)


def _owed(target: Repository, policy: str) -> Iterator[str]:
    """Yield the refs of a policy's points that failed before. A note that cannot be read is only logged."""
    area = target.run(OWED_COPIES)
    for name in area.names():
        try:
            owed = from_json(OwedCopy, area.load(name))
        except NotFoundError:
            continue
        except (CorruptError, ValueError) as error:
            log.warning("a note about a point that was not copied is unreadable: %s", error)
            continue
        if owed.policy == policy:
            yield owed.ref


def newest_with_policy(
    source: Repository, of_vms: Sequence[list[PointName]], *, only: str | None = None
) -> Iterator[ReadPoint]:
    """Yield the newest points of each VM, down to the first one that names a policy. To that policy the VM belongs.

    Newer ones may name none, because a person made them by hand.

    :param only: leave out the VMs of which the catalog tells that they belong to another policy than this one.
    """
    left = {names[-1].vm_key: list(names) for names in of_vms}
    while left:
        newest = [names.pop() for names in left.values()]
        if only is not None:
            known = source.manifests.known([name.ref for name in newest])
            others = {
                name.vm_key for name in newest if name.ref in known and known[name.ref].policy not in (only, "", None)
            }
            newest = [name for name in newest if name.vm_key not in others]
            left = {key: names for key, names in left.items() if key not in others}
        for one in source.manifests.read(newest):
            if one.point is not None and one.point.policy is not None:
                del left[one.name.vm_key]
            yield one
        left = {key: names for key, names in left.items() if names}


def newest_announced(repository: Repository, refs: Collection[str] | None) -> Iterator[ReadPoint]:
    """Yield the newest of some points of each VM; of all points, those from the newest to the first with a policy.

    :param refs: the points, also such as other repositories have; ``None``: all points.
    """
    manifests = repository.manifests
    listed = manifests.names() if refs is None else manifests.names_of({ref.rpartition("/")[0] for ref in refs})
    of_vms = by_vm(
        name for name in listed if name.taken_at and not is_ahead(name.taken_at) and (refs is None or name.ref in refs)
    )
    if refs is None:
        yield from newest_with_policy(repository, [*of_vms.values()])
    else:
        yield from manifests.read(of_vm[-1] for of_vm in of_vms.values())


def by_vm(names: Iterable[PointName]) -> dict[str, list[PointName]]:
    """Return the names of points by the key of their VM, the oldest first."""
    of_vm: dict[str, list[PointName]] = {}
    for name in names:
        if name.taken_at is not None:
            of_vm.setdefault(name.vm_key, []).append(name)
    return {key: sorted(found, key=_time_of) for key, found in of_vm.items()}


def _time_of(name: PointName) -> datetime:
    assert name.taken_at is not None
    return name.taken_at


def _policy_of(source: Repository, vm_key: str) -> str | None:
    """Return the policy that the newest readable point of a VM names, because an unreadable one tells none."""
    names = [name for name in source.manifests.names(vm_key) if name.taken_at is not None]
    points = (read.point for read in source.manifests.read(sorted(names, key=_time_of, reverse=True)))
    return next((point.policy for point in points if point is not None and point.policy), None)
