"""What dead runs have left of their access to VMs: those VMs cannot be moved until somebody ends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from vmkeep.errors import NotFoundError
from vmkeep.flows import others, vm_access
from vmkeep.flows.connect import open_vsphere
from vmkeep.model.job import VmAccess
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import relocation, snapshots
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVm:
    """A VM that cannot be moved by Storage vMotion now."""

    vm: str
    """Managed object id."""
    vm_name: str
    run: str | None
    """The run into this repository that has taken it and not let it go, if any."""
    alive: bool
    """A run into this repository may need it, or has left a snapshot, which has to go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """What became of VMs whose access was ended."""

    freed: tuple[HeldVm, ...]
    """They can be moved again."""
    kept: tuple[HeldVm, ...]
    """They still cannot, because another program or a run into another repository holds them."""
    failed: dict[str, str]
    """They still cannot, because ending the access to them failed: the reasons by managed object id."""


def find_held(
    site: Site, *, has_ended: others.HasEnded = others.nobody_knows, given_up: timedelta = others.GIVEN_UP
) -> tuple[HeldVm, ...]:
    """Return every VM that cannot be moved now; changes nothing.

    :param has_ended: tells whether the owner of a run has ended, where it is known.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        fixed = vm_access.list_held(site, session)
        now = session.server_time() if fixed else None
        found = []
        for vm in fixed:
            holder = vm_access.holder_of(repository, _identity(repository, session, vm.vm))
            alive = _has_snapshot(session, repository, vm.vm) or (
                holder is not None
                and now is not None
                and vm_access.is_alive(repository, holder, now=now, has_ended=has_ended, given_up=given_up)
            )
            found.append(HeldVm(vm=vm.vm, vm_name=vm.name, run=holder.run if holder else None, alive=alive))
        return tuple(found)


def free(site: Site, held: Iterable[HeldVm]) -> Freed:
    """End the access of dead runs to VMs, in one process for all of them."""
    dead = {vm.vm: vm for vm in held if not vm.alive}
    if not dead:
        return Freed(freed=(), kept=(), failed={})
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        wanted = [
            VmAccess(vm=vm.vm, vm_name=vm.vm_name, identity=_identity(repository, session, vm.vm))
            for vm in dead.values()
        ]
        problems = vm_access.end_all(site, session, wanted)
        fixed = {vm.vm for vm in relocation.list_fixed(session)}
        for access in wanted:
            if access.vm not in fixed:
                vm_access.forget(repository, access.identity)
    failed = {vm: problem for vm, problem in problems.items() if vm in fixed and dead[vm].run is not None}
    return Freed(
        freed=tuple(vm for vm in dead.values() if vm.vm not in fixed),
        kept=tuple(vm for vm in dead.values() if vm.vm in fixed and vm.vm not in failed),
        failed=failed,
    )


def _identity(repository: Repository, session: Session, vm: str) -> str:
    return vm_access.identity_of(repository.id, server_uuid(session), vm)


def _has_snapshot(session: Session, repository: Repository, vm: str) -> bool:
    try:
        return any(not one.is_of_other(repository.id) for one in snapshots.list_ours(session, vm))
    except NotFoundError:
        return False
