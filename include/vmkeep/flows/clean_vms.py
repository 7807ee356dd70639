"""Finds the last clean restore point of each VM."""

from __future__ import annotations

from dataclasses import dataclass

from vmkeep.errors import NotFoundError
from vmkeep.flows.clean_points import LastClean, ScanStates
from vmkeep.flows.point_choice import newest_points, parse_point_selector
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
    chosen = newest_points(repository, None if selector is None else parse_point_selector(selector))
    names: dict[str, str] = {}
    for each in chosen:
        names.setdefault(each.ref.rpartition("/")[0], each.point.vm.name if each.point is not None else "")
    if not names and selector is not None:
        raise NotFoundError(f"no VM with a restore point in {repository.location} fits '{selector}'")
    states = ScanStates(repository)
    damaged = {ref for ref, marks in repository.marks.all().items() if marks.damage is not None}
    found = []
    for key, name in names.items():
        of_vm = ((each.ref, each.taken_at) for each in repository.manifests.names(key))
        points = [(ref, at) for ref, at in of_vm if at is not None]
        found.append(CleanVm(vm_key=key, vm_name=name, last=states.last_clean(points, damaged=damaged)))
    return tuple(sorted(found, key=lambda vm: (vm.vm_name.casefold(), vm.vm_key)))
