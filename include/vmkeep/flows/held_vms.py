"""Finds VMs that cannot be moved because a dead run left its access hold on them, and ends those holds."""

from __future__ import annotations

from vmkeep.flows import vm_access
from vmkeep.flows.connect import open_vsphere
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.lateclass import dataclass
from vmkeep.model.access import VmAccess
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import relocation
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.traces import VmTraces

_THEIRS = "another program, or a run into another repository, holds it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A VM that cannot be moved by Storage vMotion now."""

    vm: VmRef
    run: str | None
    """The run into this repository that took an access hold and did not end it; ``None``: no such run."""
    alive: bool
    """A run into this repository may need the hold, or has left a snapshot, which has to be removed first."""

    def finding(self, state: State, detail: str = "") -> Finding:
        """Return the VM as a finding."""
        return Finding(kind=Kind.HELD, state=state, vm=self.vm, run=self.run or "", detail=detail)


def run_holding(site: Site, moref: str) -> str | None:
    """Return the run into this repository that took an access hold on a VM and did not end it, if there is one."""
    with open_site_repository(site) as repository, open_vsphere(site) as session:
        holder = vm_access.holder_of(repository, _identity(repository, session, moref))
        return holder.run if holder is not None else None


def sweep_held(ground: Ground) -> tuple[Finding, ...]:
    """Let the VMs be moved again that dead runs hold, all of them in one VDDK process."""
    held = _find_held(ground)
    dead = tuple(vm for vm in held if not vm.alive)
    living = tuple(vm.finding(State.IN_USE) for vm in held if vm.alive)
    if not dead or ground.wishes.dry_run:
        return (*living, *(vm.finding(State.DEAD) if vm.run else vm.finding(State.LEFT, _THEIRS) for vm in dead))
    return (*living, *_let_go(ground, dead))


def _find_held(ground: Ground) -> tuple[_Held, ...]:
    """Return every VM that cannot be moved now. Only a vCenter moves VMs."""
    if not ground.session.is_vcenter:
        return ()
    return tuple(_held(ground, one) for one in ground.vms if one.fixed)


def _held(ground: Ground, one: VmTraces) -> _Held:
    repository, wishes = ground.repository, ground.wishes
    holder = vm_access.holder_of(repository, _identity(repository, ground.session, one.vm.moref))
    has_snapshot = any(snapshot.run and not snapshot.is_of_other(repository.id) for snapshot in one.snapshots)
    alive = (
        has_snapshot
        or bool(one.why_unknown)
        or (
            holder is not None
            and vm_access.holder_is_alive(
                repository, holder, now=ground.now, has_ended=wishes.has_ended, given_up=wishes.given_up
            )
        )
    )
    return _Held(vm=one.vm, run=holder.run if holder else None, alive=alive)


def _let_go(ground: Ground, dead: tuple[_Held, ...]) -> tuple[Finding, ...]:
    """End the access holds on VMs. A hold that is not ours stays, and is no failure."""
    repository, session = ground.repository, ground.session
    wanted = {vm.vm.moref: VmAccess(vm=vm.vm, identity=_identity(repository, session, vm.vm.moref)) for vm in dead}
    problems = vm_access.end_all(ground.site, session, tuple(wanted.values()))
    still = {vm.moref for vm in relocation.list_fixed(session)}
    found = []
    for vm in dead:
        if vm.vm.moref not in still:
            vm_access.forget(repository, wanted[vm.vm.moref].identity)
            found.append(vm.finding(State.REPAIRED))
        elif vm.run is not None and vm.vm.moref in problems:
            found.append(vm.finding(State.FAILED, problems[vm.vm.moref]))
        else:
            found.append(vm.finding(State.LEFT, _THEIRS))
    return tuple(found)


def _identity(repository: Repository, session: Session, moref: str) -> str:
    return vm_access.identity_of(repository.id, server_uuid(session), moref)
