"""Storage vMotion is kept off a VM from before its snapshot is made until after it is deleted.

VDDK does so in vCenter, under one identity for each VM and repository, and there it stays until somebody ends it: not
with the process, nor with the run. So every run ends first what a dead one has left, its clean-up ends what it took,
and the sweep ends the rest. A note beside the runs tells which run took it last. Nothing of this ever fails a backup
or a restore: without it a VM that is moved costs a try.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vmkeep.errors import CorruptError, NotFoundError, VmKeepError
from vmkeep.flows import other_restores
from vmkeep.flows.connect import pinned
from vmkeep.flows.other_restores import GIVEN_UP, HasEnded, nobody_knows, owner_has_ended
from vmkeep.model.job import AccessJob, VmAccess, from_json, to_json
from vmkeep.model.site import Site
from vmkeep.model.vmref import VmRef
from vmkeep.repository import Repository, RunArea
from vmkeep.transfer import change_access
from vmkeep.vsphere import relocation
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)

_NOTE = "holder"
_CURE = "'vmkeep vm sweep', the VM's next backup and the DAG snapshot_sweep try again; see operations.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The run that has taken a VM's access last."""

    run: str
    since: datetime
    """By vCenter's clock."""


def identity_of(repository: str, vcenter: str | None, vm: str) -> str:
    """Return the name under which every run into a repository holds a VM: 39 characters of the 50 that VDDK allows.

    :param vcenter: where the VM has this id.
    """
    digest = hashlib.sha256(f"{repository}\n{vcenter}\n{vm}".encode()).hexdigest()
    return f"vmkeep-{digest[:32]}"


def hold(site: Site, session: Session, repository: Repository, vm: str, name: str, run: str) -> tuple[str, ...]:
    """Keep Storage vMotion off a VM for a run; what a dead run into this repository has left ends with it.

    :returns: what there is to warn of.
    """
    if not session.is_vcenter:
        return ()
    try:
        access = VmAccess(vm=VmRef(moref=vm, name=name), identity=identity_of(repository.id, server_uuid(session), vm))
        holder = Holder(run=run, since=session.server_time())
        repository.run(access.identity).store(_NOTE, to_json(holder))
        problem = _change(site, session, [access], prepare=True).get(vm)
    except VmKeepError as error:  # without the note nobody could tell who holds it
        problem = str(error)
    if problem is None:
        return ()
    warning = f"VM {name} may be moved by Storage vMotion while it is worked on, which then costs a try: {problem}"
    log.warning("%s", warning)
    return (warning,)


def release(site: Site, session: Session, repository: Repository, vm: str, run: str) -> tuple[str, ...]:
    """Allow Storage vMotion of a VM again, unless another run that may be alive has taken it over.

    :returns: what there is to warn of.
    """
    if not session.is_vcenter:
        return ()
    try:
        identity = identity_of(repository.id, server_uuid(session), vm)
        holder = holder_of(repository, identity)
        if holder is None and not relocation.is_fixed(session, vm):
            return ()  # nothing was taken, or it was given back before
        if holder is not None and holder.run != run:
            if is_alive(repository, holder, now=session.server_time()):
                return ()
            log.warning("VM %s: ending the access of run %s, which is dead", vm, holder.run)
    except NotFoundError:
        return ()  # the VM is gone, and what held it
    except VmKeepError as error:
        log.warning("VM %s: which run holds it is not known: %s", vm, error)
        return (_left(vm, str(error)),)
    warnings = release_identity(site, session, vm, identity)
    if holder is not None and not warnings:
        forget(repository, identity)
    return warnings


def release_identity(site: Site, session: Session, vm: str, identity: str) -> tuple[str, ...]:
    """Allow Storage vMotion of a VM again, whatever run holds it under this identity.

    Whether it can be moved is not asked first, because a vCenter may tell only later what VDDK has switched off.

    :returns: what there is to warn of.
    """
    if not session.is_vcenter:
        return ()
    try:
        access = VmAccess(vm=VmRef(moref=vm, name=vm), identity=identity)
        problem = _change(site, session, [access], prepare=False).get(vm)
        if problem is None or not relocation.is_fixed(session, vm):
            return ()
    except NotFoundError:
        return ()  # the VM is gone, and what held it
    except VmKeepError as error:
        problem = str(error)
    warning = _left(vm, problem)
    log.warning("%s", warning)
    return (warning,)


def end_all(site: Site, session: Session, vms: Sequence[VmAccess]) -> dict[str, str]:
    """Allow Storage vMotion of some VMs again; return the errors, by VM."""
    return dict(_change(site, session, vms, prepare=False)) if vms else {}


def list_held(session: Session) -> tuple[relocation.FixedVm, ...]:
    """Return every VM that somebody, or its own state, keeps from being moved, where VDDK could be the one."""
    return relocation.list_fixed(session) if session.is_vcenter else ()


def forget(repository: Repository, identity: str) -> None:
    """Note that no run holds a VM; a note that stays makes a sweep look at the VM once more, and no harm."""
    try:
        repository.run(identity).store(_NOTE, b"")
    except VmKeepError as error:
        log.warning("that %s holds nothing any more is not noted: %s", identity, error)


def holder_of(repository: Repository, identity: str) -> Holder | None:
    """Return the run that has taken a VM and not let it go; ``None``: none, or no note that can be read tells."""
    try:
        return from_json(Holder, repository.run(identity).load(_NOTE))
    except (NotFoundError, CorruptError, ValueError):
        return None


def is_alive(
    repository: Repository,
    holder: Holder,
    *,
    now: datetime,
    has_ended: HasEnded = nobody_knows,
    given_up: timedelta = GIVEN_UP,
) -> bool:
    """Tell whether the run that holds a VM may still be at work, as far as this repository can tell.

    :param given_up: age from which a silent run of an unknown owner is dead.
    """
    area = repository.run(holder.run)
    if area.fenced:
        return False
    if (ended := owner_has_ended(area, has_ended)) is not None:
        return not ended
    age = abs(now - holder.since)
    return other_restores.is_young(holder.since, now) or area.has_live_lease() or (age < given_up and _has_owner(area))


def _has_owner(area: RunArea) -> bool:
    """Return whether a run was started by somebody who can be asked about it, elsewhere."""
    try:
        return bool(area.load("owner"))
    except NotFoundError:
        return False
    except CorruptError:
        return True


def _change(site: Site, session: Session, vms: Sequence[VmAccess], *, prepare: bool) -> Mapping[str, str]:
    """Let VDDK do it, in a process of its own; return the problems by VM."""
    try:
        return change_access(pinned(site, session), AccessJob(vms=tuple(vms), prepare=prepare)).problems
    except VmKeepError as error:
        return {access.vm.moref: str(error) for access in vms}


def _left(vm: str, problem: str) -> str:
    return f"VM {vm} cannot be moved by Storage vMotion, because ending the access to it failed: {problem}; {_CURE}"
