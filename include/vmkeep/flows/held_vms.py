"""Finds VMs that cannot be moved because a dead run left its access hold on them, and ends those holds."""

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
    """The run into this repository that took an access hold and did not end it; ``None``: no such run."""
    alive: bool
    """A run into this repository may need the hold, or has left a snapshot, which has to be removed first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LetGo:
    """The outcome of a sweep of access holds: the VMs that can be moved again, and those that still cannot."""

    freed: tuple[HeldVm, ...] = ()
    """VMs that can be moved again."""
    kept: tuple[HeldVm, ...] = ()
    """VMs that still cannot, because another program or a run into another repository holds them."""
    failed: tuple[HeldVm, ...] = ()
    """VMs that still cannot, because ending the hold failed."""
    alive: tuple[HeldVm, ...] = ()
    """VMs on which a living run works."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """Errors of VDDK, by the VM's managed object id."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The outcome in words, one line for each VM."""
        return (
            *(f"VM {vm.vm} can be moved again" for vm in self.freed),
            *(f"VM {vm.vm} is held by another program or repository: left alone" for vm in self.kept),
            *(f"VM {vm.vm} still cannot be moved: {self.problems[vm.vm.moref]}" for vm in self.failed),
            *(f"VM {vm.vm} is in use by run {vm.run}, or a snapshot of it has to go first" for vm in self.alive),
        )


def find_held(
    site: Site, *, has_ended: other_restores.HasEnded = other_restores.nobody_knows, given_up: timedelta = GIVEN_UP
) -> tuple[HeldVm, ...]:
    """Return every VM that cannot be moved now. Changes nothing.

    :param has_ended: tells whether the owner of a run has ended; ``None``: the owner is not known.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        fixed = vm_access.list_held(session)
        now = session.server_time() if fixed else None
        found = []
        for vm in fixed:
            holder = vm_access.holder_of(repository, _identity(repository, session, vm.moref))
            alive = _has_snapshot(session, repository, vm.moref) or (
                holder is not None
                and now is not None
                and vm_access.holder_is_alive(repository, holder, now=now, has_ended=has_ended, given_up=given_up)
            )
            found.append(HeldVm(vm=vm, run=holder.run if holder else None, alive=alive))
        return tuple(found)


def run_holding(site: Site, moref: str) -> str | None:
    """Return the run into this repository that took an access hold on a VM and did not end it, if there is one."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        holder = vm_access.holder_of(repository, _identity(repository, session, moref))
        return holder.run if holder is not None else None


def let_go(site: Site, held: Iterable[HeldVm]) -> LetGo:
    """End the access holds of dead runs, all of them in one VDDK process."""
    found = tuple(held)
    alive, dead = tuple(vm for vm in found if vm.alive), tuple(vm for vm in found if not vm.alive)
    if not dead:
        return LetGo(alive=alive)
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        wanted = {vm.vm.moref: VmAccess(vm=vm.vm, identity=_identity(repository, session, vm.vm.moref)) for vm in dead}
        problems = vm_access.end_all(site, session, tuple(wanted.values()))
        fixed = {vm.moref for vm in relocation.list_fixed(session)}
        freed = tuple(vm for vm in dead if vm.vm.moref not in fixed)
        for vm in freed:
            vm_access.forget(repository, wanted[vm.vm.moref].identity)
    failed = tuple(vm for vm in dead if vm.vm.moref in fixed and vm.vm.moref in problems and vm.run is not None)
    kept = tuple(vm for vm in dead if vm.vm.moref in fixed and vm not in failed)
    return LetGo(freed=freed, kept=kept, failed=failed, alive=alive, problems=problems)


def _identity(repository: Repository, session: Session, moref: str) -> str:
    return vm_access.identity_of(repository.id, server_uuid(session), moref)


def _has_snapshot(session: Session, repository: Repository, moref: str) -> bool:
    try:
        return any(not one.is_of_other(repository.id) for one in snapshots.list_ours(session, moref))
    except NotFoundError:
        return False
    except VmOutOfReachError as error:
        log.warning("%s", error)
        return True
