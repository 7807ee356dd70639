"""Finds the restore point that a person means: by a ref, the beginning of a ref, or ``latest``.

The newest point is the one with the latest time that is not ahead of this machine's clock. A point from the future was
taken while a clock was wrong, or this machine's clock is wrong now. Such a point causes a warning, and is chosen only
if the VM has no other.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby, islice

from vmkeep.clock import now
from vmkeep.errors import AmbiguousError, BlobNotFoundError, CorruptError, NotFoundError, UsageError
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.point import RestorePoint, VmIdentity, settled_vcenters
from vmkeep.model.selector import names_meant, path_meant, same_path, shown_path
from vmkeep.repository.points.manifests import Manifests, ReadPoint
from vmkeep.repository.points.pointnames import AHEAD, PointName, blob_of_ref, parse_key

log = logging.getLogger(__name__)

_LATEST = "latest"
_AT_ONCE = 16
_ALIKE = 64
"""Number of newest points of one key that all have to belong to one VM before ``latest`` chooses among them."""
_FEW = 8
"""Number of newest points of one key that are read to list the VMs that share it."""


def find_point(manifests: Manifests, text: str) -> RestorePoint:
    """Return the point that a person means.

    :param text: a ref, the unique beginning of an id or of a ref, ``latest``, or ``latest:`` and a VM's name, key or
        inventory path. The newest point of a host's configuration is found by the host's key only.
    :raises UsageError: ``latest:`` has no name after it. A script has lost the name, and another VM's point would be
        wrong.
    :raises NotFoundError: no point fits.
    :raises AmbiguousError: more than one point fits.
    :raises CorruptError: the point that fits cannot be read.
    """
    if (named := _of_full_ref(manifests, text)) is not None:
        return named
    found = _point_or_name(manifests, text)
    if isinstance(found, RestorePoint):
        return found
    try:
        return manifests.load(found.blob)
    except BlobNotFoundError as error:
        raise NotFoundError(f"restore point {found.ref} was removed just now; see 'vmkeep point list'") from error


def _of_full_ref(manifests: Manifests, text: str) -> RestorePoint | None:
    """Return the point that a full ref names, without listing any; ``None``: the text has to be looked for."""
    with suppress(NotFoundError, BlobNotFoundError, CorruptError):  # a listing finds out what is wrong
        blob = blob_of_ref(text)
        if parse_key(blob).taken_at is not None:
            return manifests.load(blob)
    return None


def find_ref(manifests: Manifests, text: str) -> str:
    """Return the ref of the point that a person means; see :func:`find_point`.

    Manifests are read only for ``latest``. So a damaged point is found by all that its name tells.
    """
    return _point_or_name(manifests, text).ref


def _point_or_name(manifests: Manifests, text: str) -> RestorePoint | PointName:
    """Return the name of the point that a person means, or the point itself if it had to be read."""
    if text == f"{_LATEST}:":
        raise UsageError(f"'{text}' names no VM: write latest:VM")
    names = list(manifests.names())
    if is_latest(text):
        return _latest(manifests, names, text.partition(":")[2])
    exact = [name for name in names if text in (name.ref, name.id)]
    fitting = exact or [name for name in names if text and _begins(name, text)]
    if not fitting:
        raise NotFoundError(
            f"no restore point '{text}' in {manifests.location}; see 'vmkeep point list', and for a VM's newest point "
            "write latest:VM"
        )
    if len(fitting) > 1:
        shown = ", ".join(name.ref for name in fitting[:5])
        raise AmbiguousError(f"'{text}' fits {len(fitting)} restore points: {shown}{', …' * (len(fitting) > 5)}")
    return fitting[0]


def _begins(name: PointName, text: str) -> bool:
    """Return whether an id or ref begins with a text. The VM's key must be whole, because it may be a VM's name."""
    return name.id.startswith(text) or text == name.vm_key or ("/" in text and name.ref.startswith(text))


def is_latest(text: str) -> bool:
    """Return whether a person asks for the newest point instead of naming one."""
    return text == _LATEST or text.startswith(f"{_LATEST}:")


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


def latest_point(manifests: Manifests, vm_key: str) -> RestorePoint | None:
    """Return a VM's newest point; ``None``: it has none.

    :raises CorruptError: the newest point cannot be read.
    """
    newest = _newest(manifests, list(manifests.names(vm_key)))
    return None if newest is None else newest.told()


def latest_refs(manifests: Manifests, vm_key: str, names: Iterable[PointName] | None = None) -> list[str]:
    """Return the ref of the newest point of each VM that has a key. The newest of all is first, even if unreadable.

    Reads only the newest few points of the key, so a VM is left out if all its points are older than those.

    :param names: the names of the key's points, if they were listed already.
    """
    listed = list(manifests.names(vm_key) if names is None else names)
    newest = _newest(manifests, listed)
    if newest is None:
        return []
    first = newest.name.ref if newest.point is None else newest.told().ref
    return list(dict.fromkeys([first, *(point.ref for point in _newest_of_each(manifests, vm_key, listed, _FEW))]))


def keys_of_vm(manifests: Manifests, vm: str) -> list[str]:
    """Return the keys of the VMs that a key, a name or an inventory path means, by the newest point of each VM."""
    of_vm = _by_vm(manifests.names())
    if vm in of_vm:
        return [vm]
    return [newest.vm_key for newest in _newest_of(manifests, _without_hosts(of_vm), vm)]


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
class _Newest:
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


def _newest(manifests: Manifests, names: Sequence[PointName]) -> _Newest | None:
    """Return the newest point of one VM; if it was removed after the listing, the next one."""
    choice, ahead, left_out = _told_apart(manifests.location, names)
    past = _by_second(choice)
    for number, group in enumerate([*past, *_by_second(ahead)]):
        read = list(manifests.read(group))
        if not read:
            continue  # these points were removed after they were listed
        of = partial(_Newest, vm_key=group[0].vm_key, name=group[0], ahead=number >= len(past))
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


def _latest(manifests: Manifests, names: Sequence[PointName], vm: str) -> RestorePoint:
    of_vm, named = _by_vm(names), vm
    if vm in of_vm:
        of_vm, vm = {vm: of_vm[vm]}, ""
    else:
        of_vm = _without_hosts(of_vm)
    found = _newest_of(manifests, of_vm, vm)
    if not found:
        of = f" of a VM '{vm}'" if vm else ""
        raise NotFoundError(
            f"no restore point{of} in {manifests.location}; see 'vmkeep point list', or 'vmkeep host list' for the "
            "configurations of ESXi hosts"
        )
    if vm and len(found) > 1:
        keys = ", ".join(sorted(newest.vm_key for newest in found))
        raise AmbiguousError(f"'{vm}' names {len(found)} VMs; write latest:<key> with one of {keys}")
    newest = max(found, key=_age)
    if named:
        _require_one_vm(manifests, newest.vm_key, named)
    return newest.told()


def _require_one_vm(manifests: Manifests, vm_key: str, named: str) -> None:
    """Refuse to choose if the newest points of one key belong to several VMs. A VM's copy has its original's UUID."""
    newest = _newest_of_each(manifests, vm_key, None, _ALIKE)
    if len(newest) > 1:
        shown = "; ".join(f"{point.ref} is the newest of {point.vm.in_full}" for point in newest)
        raise AmbiguousError(f"'{named}' fits {len(newest)} VMs with one UUID: {shown}: name the restore point")


def _newest_of_each(
    manifests: Manifests, vm_key: str, names: Iterable[PointName] | None, among: int
) -> list[RestorePoint]:
    """Return the newest point of each VM to which the newest points of a key belong.

    A vCenter gives an instance UUID to one VM at a time. So if a managed object follows another one in one vCenter
    under the same UUID, both are one VM, which was registered again or restored. Managed objects that take turns are
    two VMs. So are VMs of two vCenters.

    :param names: the names of the key's points; ``None``: list them.
    :param among: the number of newest points to read.
    """
    points = [read.point for read in islice(newest_first(manifests, vm_key, names), among) if read.point is not None]
    vcenters = settled_vcenters([point.vm.vcenter for point in reversed(points)])[::-1]
    vms = [(vcenter, point.vm.moref) for vcenter, point in zip(vcenters, points, strict=True)]
    turns = [vm for vm, _ in groupby(vms)]
    if len(set(vcenters)) <= 1 and len(turns) == len(set(turns)):
        return points[:1]
    return list(dict(zip(reversed(vms), reversed(points), strict=True)).values())[::-1]


def _by_vm(names: Iterable[PointName]) -> dict[str, list[PointName]]:
    return {key: list(group) for key, group in groupby(names, key=lambda name: name.vm_key)}


def _without_hosts(of_vm: Mapping[str, list[PointName]]) -> dict[str, list[PointName]]:
    """Return only VMs, because a VM on which ESXi runs may have the name of an ESXi host."""
    return {key: names for key, names in of_vm.items() if not is_host_key(key)}


def _newest_of(manifests: Manifests, of_vm: Mapping[str, Sequence[PointName]], vm: str) -> list[_Newest]:
    """Return the newest point of every VM; with a text, only of the VMs with that name or inventory path."""
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        every = [newest for newest in threads.map(partial(_newest, manifests), of_vm.values()) if newest is not None]
    return [newest for newest in every if not vm or _is_meant(vm, _identity_of(manifests, newest, of_vm))]


def _is_meant(text: str, vm: VmIdentity | None) -> bool:
    if vm is None:
        return False
    path = path_meant(text)
    known = (vm.inventory_path, shown_path(vm.inventory_path)) if vm.inventory_path is not None else ()
    by_path = path is not None and any(same_path(path, each) for each in known)
    return by_path or vm.name in names_meant(text)


def _age(newest: _Newest) -> tuple[bool, str, float]:
    return not newest.ahead, newest.name.stamp, newest.point.taken_at.timestamp() if newest.point else math.inf


def _identity_of(manifests: Manifests, newest: _Newest, of_vm: Mapping[str, Sequence[PointName]]) -> VmIdentity | None:
    """Return a VM's identity from its newest point; if that cannot be read, from the newest point that can."""
    if newest.point is not None:
        return newest.point.vm
    ordered = sorted(of_vm[newest.vm_key], key=lambda name: name.stamp, reverse=True)
    return next((read.point.vm for read in manifests.read(ordered) if read.point is not None), None)
