"""Finds the last clean restore point of each VM."""

from __future__ import annotations

from collections.abc import Iterable

from vmkeep.blobs import abreast
from vmkeep.errors import NotFoundError
from vmkeep.flows.clean_points import LastClean, ScanStates
from vmkeep.flows.point_choice import newest_points, parse_point_selector
from vmkeep.flows.policy_copies import by_vm
from vmkeep.lateclass import dataclass
from vmkeep.model.hostconfig import is_host_key
from vmkeep.repository import Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanVm:
    """A VM, its last clean point, and the points after it."""

    vm_key: str
    vm_name: str
    """Empty: its newest point cannot be read."""
    last: LastClean


def clean_vms(repository: Repository, selector: str | None) -> tuple[CleanVm, ...]:
    """Return the last clean point of each VM that fits, by name.

    :param selector: ``None``: all VMs.
    :raises NotFoundError: no VM fits.
    """
    names = _names(repository) if selector is None else _names_of(repository, selector)
    last = last_clean_of_all(repository, names)
    found = [CleanVm(vm_key=key, vm_name=name, last=last[key]) for key, name in names.items()]
    return tuple(sorted(found, key=lambda vm: (vm.vm_name.casefold(), vm.vm_key)))


def _names(repository: Repository) -> dict[str, str]:
    """Return the name of every VM by its key, as its newest point tells it."""
    newest = [names[-1] for key, names in by_vm(repository.manifests.names()).items() if not is_host_key(key)]
    return {read.name.vm_key: read.point.vm.name if read.point else "" for read in repository.manifests.read(newest)}


def _names_of(repository: Repository, selector: str) -> dict[str, str]:
    """Return the name of each VM that fits a selector, by its key.

    :raises NotFoundError: no VM fits.
    """
    names: dict[str, str] = {}
    for each in newest_points(repository, parse_point_selector(selector)):
        names.setdefault(each.ref.rpartition("/")[0], each.point.vm.name if each.point is not None else "")
    if not names:
        raise NotFoundError(f"no VM with a restore point in {repository.location} fits '{selector}'")
    return names


def last_clean_of_all(repository: Repository, keys: Iterable[str]) -> dict[str, LastClean]:
    """Return the last clean point of each of some VMs, by their keys.

    Three lists of names and marks serve all VMs, and proofs of several VMs are read at a time.
    """
    states = ScanStates(repository)
    points = by_vm(repository.manifests.names())
    damaged = {ref for ref, marks in repository.marks.all().items() if marks.damage is not None}

    def last_of(key: str) -> tuple[str, LastClean]:
        named = [(name.ref, name.taken_at) for name in points.get(key, ()) if name.taken_at is not None]
        return key, states.last_clean(named, damaged=damaged)

    return dict(abreast(repository.blobs, last_of, keys))
