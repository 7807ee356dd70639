"""Checks policy files for people, and tells the VMs of a vCenter that policies take, with the reasons."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vmkeep.lateclass import dataclass
from vmkeep.policy import (
    Policy,
    PolicyFile,
    Verdict,
    by_precedence,
    default_folder,
    read_file,
    read_folder,
    selectors_of,
    taker,
    verdict,
)

if TYPE_CHECKING:
    from vmkeep.catalog import PointOrigin
    from vmkeep.model.site import VCenter
    from vmkeep.vsphere.inventory import VmRecord


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """A VM of a vCenter, and the policies that take it."""

    moref: str
    name: str
    policies: tuple[str, ...]
    """Names of policies that select it. The first one has it, and the others leave it to that one."""
    not_protectable: str | None
    """Reason why the VM cannot be backed up; ``None``: it can."""
    managed_by: str | None
    """The software that manages the VM; ``None``: only people do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A VM, and the answer of each policy to it."""

    coverage: Coverage
    path: str
    """Inventory path of the VM."""
    verdicts: tuple[Verdict, ...]


def policies_in(folder: Path | None) -> tuple[PolicyFile, ...]:
    """Read every policy file of a folder.

    :param folder: ``None``: the folder of the example that comes with vmkeep.
    :raises NotFoundError: there is no such folder.
    """
    return read_folder(folder or default_folder())


def named_policies(paths: Sequence[Path]) -> tuple[PolicyFile, ...]:
    """Read the named policy files. A folder stands for every policy file in it."""
    found: list[PolicyFile] = []
    for path in paths:
        found.extend(read_folder(path) if path.is_dir() else (read_file(path),))
    return tuple(found)


def coverage(vcenter: VCenter, policies: Sequence[Policy], points: Sequence[PointOrigin] = ()) -> tuple[Coverage, ...]:
    """Return every VM that the user may see with the policies that take it, sorted by name, in one pass.

    A warning names each policy that takes no VM, because its selection may be misspelt.

    :param points: restore points, the oldest first: a VM that is off is found by the address that they tell.
    """
    from vmkeep.flows.answerable import answerable_policies  # takes time to import
    from vmkeep.flows.last_seen import sightings
    from vmkeep.vsphere.choosing import known_vms
    from vmkeep.vsphere.server import server_uuid
    from vmkeep.vsphere.session import open_session

    with open_session(vcenter) as session:
        asked = answerable_policies(session, policies)
        known = known_vms(session, selectors_of(asked), sightings(points, server_uuid(session)))
    takers = [(policy.name, taker(policy)) for policy in by_precedence(asked)]
    covered = tuple(_covered(vm.record, tuple(name for name, takes in takers if takes(vm.facts))) for vm in known)
    selected = {name for vm in covered for name in vm.policies}
    for policy in asked:
        if policy.name not in selected:
            log.warning("policy %s takes no VM here: %s", policy.name, policy.selection)
    return covered


def explain_vm(
    vcenter: VCenter, policies: Sequence[Policy], vm_selector: str, points: Sequence[PointOrigin] = ()
) -> Explained:
    """Return each policy's answer to one VM.

    :param points: restore points, the oldest first: a VM that is off is found by the address that they tell.
    :raises NotFoundError: no VM fits the selector.
    :raises AmbiguousError: several VMs fit it.
    """
    from vmkeep.flows.answerable import answerable_policies
    from vmkeep.flows.last_seen import sightings
    from vmkeep.vsphere import inventory
    from vmkeep.vsphere.choosing import known_vms
    from vmkeep.vsphere.server import server_uuid
    from vmkeep.vsphere.session import open_session

    with open_session(vcenter) as session:
        seen = sightings(points, server_uuid(session))
        found = inventory.find_vm(session, vm_selector, seen)
        wanted, path = found.moref, inventory.identity_of(session, found).inventory_path
        asked = answerable_policies(session, policies)
        known = known_vms(session, selectors_of(asked), seen)
    vm = next(each for each in known if each.record.moref == wanted)
    verdicts = tuple(verdict(policy, vm.facts) for policy in asked)
    taken = tuple(policy.name for policy in by_precedence(asked) if taker(policy)(vm.facts))
    return Explained(coverage=_covered(vm.record, taken), path=path or "", verdicts=verdicts)


def _covered(vm: VmRecord, policies: tuple[str, ...]) -> Coverage:
    return Coverage(
        moref=vm.moref,
        name=vm.name,
        policies=policies,
        not_protectable=vm.not_protectable,
        managed_by=vm.managed_by,
    )
