"""Holds a VM suspended while its snapshot is taken, and resumes it, whatever dies.

The VM stays suspended for the snapshot only, because its disks are then copied from the snapshot while it runs. A run
that dies in between leaves its mark on the VM. The run's clean-up, the VM's next backup and the sweep find the mark and
resume the VM. Nobody resumes a VM that a person has suspended.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from vmkeep.errors import NotFoundError, StaleError
from vmkeep.flows import vm_access
from vmkeep.flows.backup_values import Preflight
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import HasEnded
from vmkeep.flows.sweep_ground import Ground
from vmkeep.flows.sweep_report import Finding, Kind, State
from vmkeep.model.point import BackupMode
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.vsphere import machines, suspensions
from vmkeep.vsphere.inventory import PowerState
from vmkeep.vsphere.rights import When
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

LEASE = "suspension"
"""Name of the lease that a run holds while its VM is suspended."""


def circumstances(mode: BackupMode) -> tuple[When, ...]:
    """Return the circumstances in which a backup needs more rights."""
    return (When.SUSPEND,) if mode is BackupMode.SUSPEND else ()


@contextmanager
def suspended(session: Session, repository: Repository, pre: Preflight) -> Iterator[None]:
    """Suspend the VM, if its mode says so, run the body, and resume the VM, whatever has happened in between.

    :raises StaleError: somebody else suspended the VM first, or resumed it before the body had ended.
    """
    if pre.mode is not BackupMode.SUSPEND or not pre.running:
        yield
        return
    vm, run = VmRef(moref=pre.vm.moref or "", name=pre.vm.name), pre.request.run
    mark = suspensions.SuspendMark(run=run, began=session.server_time(), repository=repository.id)
    with repository.run(run).open_lease(LEASE):
        try:
            ours = suspensions.suspend(session, vm.moref, mark)
        except BaseException:
            resume_left(session, vm.moref, run, repository.id)
            raise
        if not ours:
            raise StaleError(f"VM {vm} was suspended or switched off since its backup was planned: start again")
        try:
            yield
            if machines.power_state(session, vm.moref) is not PowerState.SUSPENDED:
                raise StaleError(f"VM {vm} was resumed before its snapshot was complete: start again")
        finally:
            _resume_own(session, vm)


def _resume_own(session: Session, vm: VmRef) -> None:
    """Resume a VM that this process has suspended. One that somebody switched off since stays off."""
    if machines.power_state(session, vm.moref) is PowerState.OFF:
        suspensions.unmark(session, vm.moref)
        return
    suspensions.resume(session, vm.moref)
    log.info("VM %s runs again", vm)


def resume_left(session: Session, moref: str, run: str, repository: str | None) -> bool:
    """Resume a VM that a run has left suspended. Return whether it was suspended.

    :param repository: id of the run's repository; ``None``: it is not known.
    """
    try:
        marked = suspensions.find_marked(session, moref)
    except NotFoundError:
        return False
    return resume_marked(session, marked, run, repository)


def resume_marked(session: Session, marked: suspensions.MarkedVm | None, run: str, repository: str | None) -> bool:
    """Resume a VM if the run that it is marked by has left it suspended. Return whether it was suspended.

    :param marked: the VM; ``None``: it carries no mark.
    :param repository: id of the run's repository; ``None``: it is not known.
    """
    if marked is None or marked.mark.run != run or repository not in (None, marked.mark.repository):
        return False
    settled = suspensions.settle(session, marked)
    return settled is not None and _end(session, settled)


def _end(session: Session, marked: suspensions.MarkedVm) -> bool:
    if marked.suspended_by_run:
        log.warning("VM %s: resuming it, because run %s left it suspended", marked.vm, marked.mark.run)
        return suspensions.resume(session, marked.vm.moref)
    if marked.power is not PowerState.SUSPENDED and marked.is_over(session.server_time()):
        log.warning("VM %s: run %s left only its mark; it is taken off", marked.vm, marked.mark.run)
        suspensions.unmark(session, marked.vm.moref)
    return False


def resume_before_backup(
    session: Session, repository: Repository, pre: Preflight, has_ended: HasEnded, marked: suspensions.MarkedVm | None
) -> None:
    """Resume the VM if a dead run, or an earlier try of this run, has left it suspended.

    :param marked: the VM as it was found; ``None``: it carries no mark.
    :raises StaleError: it was left suspended, so that the plan of this backup is not true any more.
    """
    if marked is None or _is_alive(session, repository, marked, pre.request.run, has_ended, GIVEN_UP):
        return
    settled = suspensions.settle(session, marked)
    if settled is not None and _end(session, settled):
        raise StaleError(
            f"VM {marked.vm} was left suspended by run {marked.mark.run}, and is resumed now: start its backup again"
        )


def sweep_suspended(ground: Ground) -> tuple[Finding, ...]:
    """Resume every VM that a dead run has left suspended."""
    return tuple(_swept(ground, one.suspension) for one in ground.vms if one.suspension is not None)


def _swept(ground: Ground, marked: suspensions.MarkedVm) -> Finding:
    age = ground.now - marked.mark.began
    finding = Finding(
        kind=Kind.SUSPENDED, state=State.IN_USE, vm=marked.vm, run=marked.mark.run, age_seconds=age.total_seconds()
    )
    if marked.mark.repository != ground.repository.id:
        if abs(age) < GIVEN_UP:
            return finding
        return replace(finding, state=State.LEFT, detail="only the sweep of its repository knows more")
    if _is_alive(ground.session, ground.repository, marked, "", ground.wishes.has_ended, ground.wishes.given_up):
        return finding
    if marked.power is PowerState.SUSPENDED and not marked.suspended_by_run:
        return replace(finding, state=State.LEFT, detail="somebody has suspended it since")
    if not marked.suspended_by_run and not marked.is_over(ground.now):
        return finding  # vSphere may still suspend it

    def repair() -> str:
        return "" if _end(ground.session, marked) else "only its mark was left"

    return ground.repaired(finding, repair)


def _is_alive(
    session: Session,
    repository: Repository,
    marked: suspensions.MarkedVm,
    own: str,
    has_ended: HasEnded,
    given_up: timedelta,
) -> bool:
    if marked.mark.repository != repository.id:
        return True
    if marked.mark.run == own:
        return False
    holder = vm_access.Holder(run=marked.mark.run, since=marked.mark.began)
    return vm_access.holder_is_alive(
        repository, holder, now=session.server_time(), has_ended=has_ended, given_up=given_up
    )
