"""Finds the restore point that a person means: by a ref, the beginning of a ref, or ``latest``.

Only manifests tell the names of VMs. So ``latest:NAME`` reads the newest manifest of each VM, except of those whose
newest point the catalog knows under another name. The point that is chosen is always read from the repository.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import groupby

from vmkeep.errors import AmbiguousError, BlobNotFoundError, CorruptError, NotFoundError, UsageError
from vmkeep.model.hostconfig import is_host_key
from vmkeep.model.imagekeys import image_key
from vmkeep.model.knownpoint import KnownPoint
from vmkeep.model.point import RestorePoint, VmIdentity
from vmkeep.model.selector import names_meant, path_meant, same_path, shown_path
from vmkeep.repository.points.manifests import Manifests, load_ref
from vmkeep.repository.points.newest import Newest, newest_names, newest_of, newest_of_each
from vmkeep.repository.points.pointnames import PointName, blob_of_ref, parse_key

_LATEST = "latest"
_AT_ONCE = 16
_DATE = re.compile(r"^(\d{4})-(\d\d)-(\d\d)")
_STAMPED = re.compile(r"\d{8}(T|$)")
"""The beginning of a text that is the time of a point, or its day."""
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
            f"write latest:VM{_of_time(names, text)}"
        )
    if len(fitting) > 1:
        raise AmbiguousError(f"'{text}' fits {len(fitting)} restore points: {_shown(fitting)}")
    return fitting[0]


def _shown(names: Sequence[PointName]) -> str:
    return f"{', '.join(name.ref for name in names[:5])}{', …' * (len(names) > 5)}"


def _of_time(names: Sequence[PointName], text: str) -> str:
    """Return the words for somebody who has named a point by its time, which stands in its ref before its id."""
    asked = _DATE.sub(r"\1\2\3", text)
    if not _STAMPED.match(asked):
        return ""
    found = [name for name in names if f"{name.stamp}-{name.id}".startswith(asked)]
    of_that = f". The points of that time: {_shown(found)}" if found else ""
    return f". A time names no point: its id stands behind the last '-' of its ref{of_that}"


def _begins(name: PointName, text: str) -> bool:
    """Return whether an id or ref begins with a text. The VM's key must be whole, because it may be a VM's name."""
    return name.id.startswith(text) or text == name.vm_key or ("/" in text and name.ref.startswith(text))


def is_latest(text: str) -> bool:
    """Return whether a person asks for the newest point instead of naming one."""
    return text == _LATEST or text.startswith(f"{_LATEST}:")


def latest_point(manifests: Manifests, vm_key: str) -> RestorePoint | None:
    """Return a VM's newest point; ``None``: it has none.

    :raises CorruptError: the newest point cannot be read.
    """
    newest = newest_of(manifests, list(manifests.names(vm_key)))
    return None if newest is None else newest.told()


def latest_refs(manifests: Manifests, vm_key: str, names: Iterable[PointName] | None = None) -> list[str]:
    """Return the ref of the newest point of each VM that has a key. The newest of all is first, even if unreadable.

    Reads only the newest few points of the key, so a VM is left out if all its points are older than those.

    :param names: the names of the key's points, if they were listed already.
    """
    listed = list(manifests.names(vm_key) if names is None else names)
    newest = newest_of(manifests, listed)
    if newest is None:
        return []
    first = newest.name.ref if newest.point is None else newest.told().ref
    each = newest_of_each(manifests, vm_key, listed, _FEW, read=newest.point)
    return list(dict.fromkeys([first, *(point.ref for point in each)]))


def keys_of_vm(manifests: Manifests, vm: str) -> list[str]:
    """Return the keys of the VMs that a key, a name or an inventory path means, by the newest point of each VM."""
    of_vm = _by_vm(manifests.names())
    if vm in of_vm:
        _require_no_namesake(of_vm, vm)
        return [vm]
    return [newest.vm_key for newest in _newest_of(manifests, _without_hosts(of_vm), vm)]


def _latest(manifests: Manifests, names: Sequence[PointName], vm: str) -> RestorePoint:
    of_vm, named = _by_vm(names), vm
    if vm in of_vm:
        _require_no_namesake(of_vm, vm)
        of_vm, vm = {vm: of_vm[vm]}, ""
    else:
        of_vm = _without_hosts(of_vm)
    found = _newest_of(manifests, of_vm, vm) if vm else _newest_of_all(manifests, of_vm)
    if not found:
        of = f" of a VM '{vm}'" if vm else ""
        raise NotFoundError(
            f"no restore point{of} in {manifests.location}; see 'vmkeep point list', or 'vmkeep host list' for the "
            f"configurations of ESXi hosts{_doubt(manifests) if vm else ''}"
        )
    if vm and len(found) > 1:
        keys = ", ".join(sorted(newest.vm_key for newest in found))
        raise AmbiguousError(f"'{vm}' names {len(found)} VMs; write latest:<key> with one of {keys}")
    newest = max(found, key=_age)
    if named:
        _require_one_vm(manifests, newest, of_vm[newest.vm_key], named)
    return newest.told()


def _doubt(manifests: Manifests) -> str:
    """Return the words about a memory that may have hidden a VM, if somebody has written a wrong name there."""
    if not manifests.asked:
        return ""
    return ". The catalog was asked for the names: if it may be wrong, 'vmkeep catalog rebuild' reads all points anew"


def _require_one_vm(manifests: Manifests, found: Newest, names: Sequence[PointName], named: str) -> None:
    """Refuse to choose if the newest points of one key belong to several VMs. A VM's copy has its original's UUID."""
    newest = newest_of_each(manifests, found.vm_key, names, _ALIKE, read=found.point)
    if len(newest) > 1:
        points = [load_ref(manifests, known.ref) for known in newest]
        shown = "; ".join(f"{point.ref} is the newest of {point.vm.in_full}" for point in points)
        raise AmbiguousError(f"'{named}' fits {len(newest)} VMs with one UUID: {shown}: name the restore point")


def _require_no_namesake(of_vm: Mapping[str, Sequence[PointName]], key: str) -> None:
    """Refuse to choose if a key of one machine is the name of another. Only names of images can be told from keys."""
    if (other := image_key(key)) in of_vm:
        raise AmbiguousError(
            f"'{key}' is the key of one machine and the name of another, whose key is {other}: write that key, or the "
            "name of the first"
        )


def _by_vm(names: Iterable[PointName]) -> dict[str, list[PointName]]:
    return {key: list(group) for key, group in groupby(names, key=lambda name: name.vm_key)}


def _without_hosts(of_vm: Mapping[str, list[PointName]]) -> dict[str, list[PointName]]:
    """Return only VMs, because a VM on which ESXi runs may have the name of an ESXi host."""
    return {key: names for key, names in of_vm.items() if not is_host_key(key)}


def _newest_of_all(manifests: Manifests, of_vm: Mapping[str, Sequence[PointName]]) -> list[Newest]:
    """Return the newest points of VMs among which the newest of all is. Names tell all but the order in one second."""
    stamps = {key: told[0].stamp for key, names in of_vm.items() if (told := newest_names(names))}
    newest = max(stamps.values(), default="")
    found = _newest_of(manifests, {key: of_vm[key] for key, stamp in stamps.items() if stamp == newest}, "")
    if found and all(each.name.stamp == newest for each in found):
        return found
    return _newest_of(manifests, of_vm, "")  # points were removed after the listing, or all are from the future


def _newest_of(manifests: Manifests, of_vm: Mapping[str, Sequence[PointName]], vm: str) -> list[Newest]:
    """Return the newest point of every VM; with a text, only of the VMs with that name or inventory path."""
    if not vm:
        return _read_newest(manifests, of_vm.values())
    known = _known_newest(manifests, of_vm)
    wanted = (names for key, names in of_vm.items() if key not in known or _is_meant(vm, known[key]))
    every = _read_newest(manifests, wanted)
    unknown = [newest.point for newest in every if newest.point and newest.vm_key not in known]
    manifests.keep_known(unknown, of=len(of_vm))
    return [newest for newest in every if _is_meant(vm, _identity_of(manifests, newest, of_vm))]


def _read_newest(manifests: Manifests, names_of_vms: Iterable[Sequence[PointName]]) -> list[Newest]:
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as threads:
        every = threads.map(partial(newest_of, manifests), names_of_vms)
        return [newest for newest in every if newest is not None]


def _known_newest(manifests: Manifests, of_vm: Mapping[str, Sequence[PointName]]) -> dict[str, KnownPoint]:
    """Return the facts of the newest point of each VM of which the catalog has them, by the VM's key."""
    newest = {key: newest_names(names) for key, names in of_vm.items()}
    known = manifests.known([name.ref for names in newest.values() for name in names])
    return {
        key: max((known[name.ref] for name in names), key=lambda point: point.taken_at)
        for key, names in newest.items()
        if names and all(name.ref in known for name in names)
    }


def _is_meant(text: str, vm: VmIdentity | KnownPoint | None) -> bool:
    if vm is None:
        return False
    path = path_meant(text)
    known = (vm.inventory_path, shown_path(vm.inventory_path)) if vm.inventory_path is not None else ()
    by_path = path is not None and any(same_path(path, each) for each in known)
    return by_path or vm.name in names_meant(text)


def _age(newest: Newest) -> tuple[bool, str, float]:
    return not newest.ahead, newest.name.stamp, newest.point.taken_at.timestamp() if newest.point else math.inf


def _identity_of(manifests: Manifests, newest: Newest, of_vm: Mapping[str, Sequence[PointName]]) -> VmIdentity | None:
    """Return a VM's identity from its newest point; if that cannot be read, from the newest point that can."""
    if newest.point is not None:
        return newest.point.vm
    ordered = sorted(of_vm[newest.vm_key], key=lambda name: name.stamp, reverse=True)
    return next((read.point.vm for read in manifests.read(ordered) if read.point is not None), None)
