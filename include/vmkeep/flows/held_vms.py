"""Find VMs that cannot be moved because a dead run has left its access to them, and let them go."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from vmkeep.errors import NotFoundError, VmOutOfReachError
from vmkeep.flows import other_restores, vm_access
from vmkeep.flows.connect import open_vsphere
from vmkeep.model.job import VmAccess
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import relocation, snapshots
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

GIVEN_UP = other_restores.GIVEN_UP
"""The age from which a silent run of an unknown owner is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVm:
    """A VM that cannot be moved by Storage vMotion now."""

    vm: VmRef
    run: str | None
    """The run into this repository that has taken it and not let it go, if any."""
    alive: bool
    """A run into this repository may need it, or has left a snapshot, which has to go first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """The end of a sweep: which VMs can be moved again, and which still cannot."""

    freed: tuple[HeldVm, ...] = ()
    """They can be moved again."""
    kept: tuple[HeldVm, ...] = ()
    """They still cannot, because another program or a run into another repository holds them."""
    failed: tuple[HeldVm, ...] = ()
    """They still cannot, because ending the access to them failed."""
    alive: tuple[HeldVm, ...] = ()
    """A living run works on them."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Why it failed, by managed object id."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The result in words, a line for each VM."""
        return (
            *(f"VM {vm.vm} can be moved again" for vm in self.freed),
            *(f"VM {vm.vm} is held by another program or repository: left alone" for vm in self.kept),
            *(f"VM {vm.vm} still cannot be moved: {self.problems[vm.vm.moref]}" for vm in self.failed),
            *(f"VM {vm.vm} is in use by run {vm.run}, or a snapshot of it has to go first" for vm in self.alive),
        )


def find_held(
    site: Site, *, has_ended: other_restores.HasEnded = other_restores.nobody_knows, given_up: timedelta = GIVEN_UP
) -> tuple[HeldVm, ...]:
    """Return every VM that cannot be moved now; changes nothing.

    :param has_ended: tells whether the owner of a run has ended, where it is known.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        fixed = vm_access.list_held(session)
        now = session.server_time() if fixed else None
        found = []
        for vm in fixed:
            holder = vm_access.holder_of(repository, _identity(repository, session, vm.vm))
            alive = _has_snapshot(session, repository, vm.vm) or (
                holder is not None
                and now is not None
                and vm_access.is_alive(repository, holder, now=now, has_ended=has_ended, given_up=given_up)
            )
            found.append(HeldVm(vm=VmRef(moref=vm.vm, name=vm.name), run=holder.run if holder else None, alive=alive))
        return tuple(found)


def run_holding(site: Site, vm: str) -> str | None:
    """Return the run into this repository that has taken a VM and not let it go, if any."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        holder = vm_access.holder_of(repository, _identity(repository, session, vm))
        return holder.run if holder is not None else None


def let_go(site: Site, held: Iterable[HeldVm]) -> LetGo:
    """End the access of dead runs to VMs, in one process for all of them."""
    found = tuple(held)
    alive, dead = tuple(vm for vm in found if vm.alive), tuple(vm for vm in found if not vm.alive)
    if not dead:
        return LetGo(alive=alive)
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        wanted = {vm.vm.moref: VmAccess(vm=vm.vm, identity=_identity(repository, session, vm.vm.moref)) for vm in dead}
        problems = vm_access.end_all(site, session, tuple(wanted.values()))
        fixed = {vm.vm for vm in relocation.list_fixed(session)}
        freed = tuple(vm for vm in dead if vm.vm.moref not in fixed)
        for vm in freed:
            vm_access.forget(repository, wanted[vm.vm.moref].identity)
    failed = tuple(vm for vm in dead if vm.vm.moref in fixed and vm.vm.moref in problems and vm.run is not None)
    kept = tuple(vm for vm in dead if vm.vm.moref in fixed and vm not in failed)
    return LetGo(freed=freed, kept=kept, failed=failed, alive=alive, problems=problems)


def _identity(repository: Repository, session: Session, vm: str) -> str:
    return vm_access.identity_of(repository.id, server_uuid(session), vm)


def _has_snapshot(session: Session, repository: Repository, vm: str) -> bool:
    try:
        return any(not one.is_of_other(repository.id) for one in snapshots.list_ours(session, vm))
    except NotFoundError:
        return False
    except VmOutOfReachError as error:
        log.warning("%s", error)
        return True
