"""Ends a backup on its VM: stops the copies, removes the snapshot, allows Storage vMotion again.

Every step may be repeated, because a snapshot or hold that is gone already counts as success.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from vmkeep.errors import NotFoundError, PermissionDeniedError, StoreFullError, StoreReadOnlyError, VmKeepError
from vmkeep.flows import array_hooks, guest_thaws, limits, suspension, vm_access
from vmkeep.flows.backup_values import Removal
from vmkeep.flows.connect import fence_deadline, open_vsphere, require_server
from vmkeep.model.guest import Logins, no_logins
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.remains import find_remains
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.snapshots import VmSnapshot

log = logging.getLogger(__name__)


def remove_snapshot(
    site: Site,
    moref: str,
    run: str,
    *,
    vcenter: str | None = None,
    logins: Logins = no_logins,
    seconds: float = snapshots.REMOVE_SECONDS,
    ends_run: bool = False,
) -> Removal:
    """Stop this run's copies and wait for their end, remove its snapshot, and look whether anything is left.

    A guest that the run has left frozen is thawed first.

    :param vcenter: UUID of the vCenter in which the VM has this id. At another server the id would find no snapshot,
        which proves nothing.
    :param logins: returns the guest's user for the command that thaws it.
    :param seconds: time limit of the removal in vSphere, which goes on when the limit is over.
    :param ends_run: this is the last step of a backup, so remove what its steps have left for each other, too. A dead
        run keeps that, because the notes of a restore tell what else has to be put right.
    :raises GuestCommandError: the snapshot is removed, but the guest may still be frozen.
    :raises ArrayHookError: the snapshot is removed, but the array hook failed.
    :raises DeadlineError: the copies or the removal did not end in time. Another call waits again.
    """
    with open_site_repository(site) as repository:
        frozen = guest_thaws.thaw_run(site, repository, moref, run, logins=logins)
        fenced = _fence(repository, run)
        release = partial(vm_access.release, site, repository=repository, moref=moref, run=run)
        try:
            removal = _remove(
                site,
                moref,
                run,
                vcenter=vcenter,
                repository=repository.id,
                fenced=fenced,
                release=release,
                seconds=seconds,
            )
            free = limits.give_back(repository, run)
        finally:
            hook = array_hooks.after_copy(site, repository, moref, run)
        if (problem := frozen or hook) is not None:
            raise problem
        if ends_run and free and removal.is_whole:
            _end(repository, run)
    return removal


def remove_own_snapshot(
    site: Site, moref: str, run: str, *, vcenter: str | None, repository: str | None = None, logins: Logins = no_logins
) -> Removal:
    """Remove the snapshot of a run whose copies all ran in this process and are over.

    This works also while the repository is full or out of reach, because the snapshot grows meanwhile.

    :param repository: id of the repository that the run stores into.
    :param logins: returns the guest's user for the command that thaws it.
    :raises GuestCommandError: the snapshot is removed, but the guest may still be frozen.
    :raises ArrayHookError: the snapshot is removed, but the array hook failed.
    """
    fenced, frozen, free = 0, None, False
    try:
        with open_site_repository(site) as opened:
            repository = opened.id
            frozen = guest_thaws.thaw_run(site, opened, moref, run, logins=logins)
            fenced = _fence(opened, run)
    except VmKeepError as error:
        log.warning("VM %s: its snapshot is removed without a note of that in the repository: %s", moref, error)

    def release(session: Session) -> tuple[str, ...]:
        nonlocal free
        try:
            with open_site_repository(site) as opened:
                free = limits.give_back(opened, run)
                return vm_access.release(site, session, opened, moref, run)
        except VmKeepError:
            if repository is None:
                return ()
            identity = vm_access.identity_of(repository, server_uuid(session), moref)
            return vm_access.release_identity(site, session, moref, identity)

    try:
        removal = _remove(site, moref, run, vcenter=vcenter, repository=repository, fenced=fenced, release=release)
    finally:
        hook = array_hooks.after_own_copy(site, moref, run)
    if (problem := frozen or hook) is not None:
        raise problem
    if free and removal.is_whole:
        with suppress(VmKeepError), open_site_repository(site) as opened:
            _end(opened, run)
    return removal


def _end(repository: Repository, run: str) -> None:
    """Remove what the steps of a run left for each other, once nothing is left of it that others would judge by that.

    Its copies are over, and one that begins late finds no snapshot. A run without a snapshot keeps its fence, because
    only that stops such a copy; a prune removes it, and whatever stays because of a failure here.
    """
    with suppress(VmKeepError):
        repository.run(run).end()


def _fence(repository: Repository, run: str) -> int:
    """Stop a run's copies and wait for their end; return the number of copies."""
    area = repository.run(run)
    try:
        area.fence()
    except (StoreFullError, StoreReadOnlyError, PermissionDeniedError) as error:
        # No copy can renew its lease in such a store either, and none can begin. Copies with a lease are waited for.
        log.warning("the copies of run %s cannot be told to stop: %s", run, error)
    return area.await_copies(fence_deadline(run))


def _remove(
    site: Site,
    moref: str,
    run: str,
    *,
    vcenter: str | None,
    repository: str | None,
    fenced: int,
    release: Callable[[Session], tuple[str, ...]],
    seconds: float = snapshots.REMOVE_SECONDS,
) -> Removal:
    """Remove the snapshots of a run, and let the VM be moved again.

    :param repository: id of the run's repository, because runs of two repositories may have one key.
    """
    with open_vsphere(site) as session:
        if vcenter is not None:
            require_server(session, vcenter, moref)
        removed = 0
        for snapshot in _resumed_with(session, moref, run, repository):
            if repository is None or not snapshot.is_of_other(repository):
                snapshots.discard(session, moref, snapshot, timeout=seconds)
                removed += 1
        # A removal has looked at the disks already.
        consolidated = not removed and snapshots.consolidate_if_needed(session, moref, timeout=seconds)
        warnings = release(session)
        return Removal(snapshots_removed=removed, consolidated=consolidated, copies_fenced=fenced, warnings=warnings)


def _resumed_with(session: Session, moref: str, run: str, repository: str | None) -> tuple[VmSnapshot, ...]:
    """Resume a VM that a run has left suspended, first because it serves nobody. Return the run's snapshots of it."""
    try:
        left = find_remains(session, moref)
        suspension.resume_marked(session, left.marked, run, repository)
        return tuple(snapshot for snapshot in left.list_snapshots(session, moref) if snapshot.run == run)
    except NotFoundError:
        return ()
