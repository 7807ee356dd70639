"""Takes and ends access holds, which keep Storage vMotion off a VM from before its snapshot until after its removal.

VDDK's PrepareForAccess records the hold in vCenter, under one identity for each VM and repository. The hold outlives
the process and the run: it stays until EndAccess is called with the same identity. So every run first ends the hold
that a dead run has left, its clean-up ends the run's own hold, and the sweep ends the rest. A note beside the runs
names the run that took the hold last. No failure here fails a backup or a restore, because a VM that is moved without
a hold only costs a try.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows import liveness
from vmkeep.flows.connect import pinned
from vmkeep.flows.leftover_ages import GIVEN_UP
from vmkeep.flows.liveness import HasEnded, nobody_knows
from vmkeep.lateclass import dataclass
from vmkeep.model.access import AccessJob, VmAccess
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository
from vmkeep.transfer import change_access, choose_driver
from vmkeep.vsphere import relocation
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_NOTE = "holder"
_CURE = "'vmkeep vm sweep', the VM's next backup and the DAG snapshot_sweep try again; see docs/operations/backups.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The run that last took the access hold on a VM."""

    run: str
    since: datetime
    """Time by vCenter's clock."""


def identity_of(repository: str, vcenter: str | None, moref: str) -> str:
    """Return the identity by which every run into a repository holds a VM: 39 characters of the 50 that VDDK allows.

    :param repository: the repository's id.
    :param vcenter: UUID of the vCenter in which the VM has this id.
    """
    digest = hashlib.sha256(f"{repository}\n{vcenter}\n{moref}".encode()).hexdigest()
    return f"vmkeep-{digest[:32]}"


def can_hold(site: Site, session: Session) -> bool:
    """Tell whether :func:`hold` takes a hold. A host without vCenter knows none, and some disk drivers take none."""
    return session.is_vcenter and choose_driver(site).holds


def hold(site: Site, session: Session, repository: Repository, vm: VmRef, run: str) -> tuple[str, ...]:
    """Take an access hold on a VM for a run. It replaces the hold that a dead run into this repository has left.

    :returns: warnings.
    """
    if not session.is_vcenter:
        return ()
    try:
        access = VmAccess(vm=vm, identity=identity_of(repository.id, server_uuid(session), vm.moref))
        holder = Holder(run=run, since=session.server_time())
        repository.run(access.identity).store(_NOTE, to_json(holder))
        problem = _change(site, session, [access], prepare=True).get(vm.moref)
    except VmKeepError as error:  # without the note nobody could tell which run holds the VM
        problem = str(error)
    if problem is None:
        return ()
    warning = f"VM {vm.name} may be moved by Storage vMotion while it is worked on, which then costs a try: {problem}"
    log.warning("%s", warning)
    return (warning,)


def hand_over(session: Session, repository: Repository, moref: str, run: str) -> None:
    """Let another run end the access hold on a VM that this run took over from it. A failure costs that run a try."""
    if not session.is_vcenter:
        return
    try:
        identity = identity_of(repository.id, server_uuid(session), moref)
        holder = Holder(run=run, since=session.server_time())
        repository.run(identity).store(_NOTE, to_json(holder))
    except VmKeepError as error:
        log.warning("VM %s: its access hold ends before run %s: %s", moref, run, error)


def release(site: Site, session: Session, repository: Repository, moref: str, run: str) -> tuple[str, ...]:
    """End the access hold on a VM, unless another run that may be alive has taken it over.

    :returns: warnings.
    """
    if not session.is_vcenter:
        return ()
    try:
        identity = identity_of(repository.id, server_uuid(session), moref)
        holder = holder_of(repository, identity)
        if holder is None and not relocation.is_fixed(session, moref):
            return ()  # no hold was taken, or it was ended before
        if holder is not None and holder.run != run:
            if holder_is_alive(repository, holder, now=session.server_time()):
                return ()
            log.warning("VM %s: ending the access hold of run %s, which is dead", moref, holder.run)
    except NotFoundError:
        return ()  # the VM is gone, and its hold with it
    except VmKeepError as error:
        log.warning("VM %s: the run that holds it is not known: %s", moref, error)
        return (_left(moref, str(error)),)
    warnings = release_identity(site, session, moref, identity)
    if holder is not None and not warnings:
        forget(repository, identity)
    return warnings


def release_identity(site: Site, session: Session, moref: str, identity: str) -> tuple[str, ...]:
    """End the access hold on a VM, whichever run took it under this identity.

    EndAccess is called even if vCenter says that the VM can be moved, because vCenter may show a hold only later.

    :returns: warnings.
    """
    if not session.is_vcenter:
        return ()
    try:
        access = VmAccess(vm=VmRef(moref=moref, name=moref), identity=identity)
        problem = _change(site, session, [access], prepare=False).get(moref)
        if problem is None or not relocation.is_fixed(session, moref):
            return ()
    except NotFoundError:
        return ()  # the VM is gone, and its hold with it
    except VmKeepError as error:
        problem = str(error)
    warning = _left(moref, problem)
    log.warning("%s", warning)
    return (warning,)


def end_all(site: Site, session: Session, vms: Sequence[VmAccess]) -> dict[str, str]:
    """End the access holds on several VMs. Return the errors, by managed object id."""
    return dict(_change(site, session, vms, prepare=False)) if vms else {}


def forget(repository: Repository, identity: str) -> None:
    """Record that no run holds a VM. A failure does no harm: a later sweep looks at the VM once more."""
    try:
        repository.run(identity).store(_NOTE, b"")
    except VmKeepError as error:
        log.warning("the note of access hold %s still names a run, though the hold is ended: %s", identity, error)


def holder_of(repository: Repository, identity: str) -> Holder | None:
    """Return the run that took the access hold on a VM and did not end it; ``None``: no readable note names one."""
    try:
        return from_json(Holder, repository.run(identity).load(_NOTE))
    except (NotFoundError, CorruptError, ValueError):
        return None


def holder_is_alive(
    repository: Repository,
    holder: Holder,
    *,
    now: datetime,
    has_ended: HasEnded = nobody_knows,
    given_up: timedelta = GIVEN_UP,
) -> bool:
    """Tell whether the run that holds a VM may still be at work, as far as this repository can tell.

    :param now: the time by vCenter's clock.
    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    area = repository.run(holder.run)
    return liveness.run_is_alive(area, holder.since, now=now, has_ended=has_ended, given_up=given_up)


def _change(site: Site, session: Session, vms: Sequence[VmAccess], *, prepare: bool) -> Mapping[str, str]:
    """Call VDDK's PrepareForAccess or EndAccess in a child process. Return the errors, by managed object id."""
    try:
        return change_access(pinned(site, session), AccessJob(vms=tuple(vms), prepare=prepare)).problems
    except VmKeepError as error:
        return {access.vm.moref: str(error) for access in vms}


def _left(moref: str, problem: str) -> str:
    return f"VM {moref} cannot be moved by Storage vMotion, because ending the access to it failed: {problem}; {_CURE}"
