"""The end of a backup on its VM: stop the copies, remove the snapshot, let the VM be moved again.

What is gone already is success, so that every step may be repeated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from vmkeep.errors import PermissionDeniedError, StoreFullError, VmKeepError
from vmkeep.flows import vm_access
from vmkeep.flows.connect import fence_deadline, open_vsphere, require_server
from vmkeep.flows.values import Removal
from vmkeep.model.site import Site
from vmkeep.repository import Repository, open_site_repository
from vmkeep.vsphere import snapshots
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session

log = logging.getLogger(__name__)


def remove_snapshot(site: Site, vm: str, run: str, *, vcenter: str | None = None) -> Removal:
    """Remove what this run left on the VM: first stop and wait for its copies, then remove, then look again.

    :param vcenter: where the VM has this id; at another one, nothing to remove would mean nothing.
    """
    with open_site_repository(site) as repository:
        fenced = _fence(repository, run)
        release = partial(vm_access.release, site, repository=repository, vm=vm, run=run)
        return _remove(site, vm, run, vcenter=vcenter, repository=repository.id, fenced=fenced, release=release)


def remove_own_snapshot(
    site: Site, vm: str, run: str, *, vcenter: str | None, repository: str | None = None
) -> Removal:
    """Remove the snapshot of a run whose copies were all this process's, and are over, whatever the repository is like.

    A repository that is full, or gone, is no reason for a VM to keep a snapshot that grows, or to stay fixed.

    :param repository: the id of the one that the run stores into.
    """
    fenced = 0
    try:
        with open_site_repository(site) as opened:
            repository = opened.id
            fenced = _fence(opened, run)
    except VmKeepError as error:
        log.warning("VM %s: its snapshot is removed without a note of that in the repository: %s", vm, error)

    def release(session: Session) -> tuple[str, ...]:
        try:
            with open_site_repository(site) as opened:
                return vm_access.release(site, session, opened, vm, run)
        except VmKeepError:
            if repository is None:
                return ()
            identity = vm_access.identity_of(repository, server_uuid(session), vm)
            return vm_access.release_identity(site, session, vm, identity)

    return _remove(site, vm, run, vcenter=vcenter, repository=repository, fenced=fenced, release=release)


def _fence(repository: Repository, run: str) -> int:
    """Stop a run's copies and wait for their end; return how many there were."""
    area = repository.run(run)
    try:
        area.fence()
    except (StoreFullError, PermissionDeniedError) as error:
        # Nor can a copy renew its lease there, or a new one begin: those that have a lease are waited for.
        log.warning("the copies of run %s cannot be told to stop: %s", run, error)
    return area.await_copies(fence_deadline(run))


def _remove(
    site: Site,
    vm: str,
    run: str,
    *,
    vcenter: str | None,
    repository: str | None,
    fenced: int,
    release: Callable[[Session], tuple[str, ...]],
) -> Removal:
    """Remove the snapshots of a run, and let the VM be moved again.

    :param repository: the id of the one that the run stores into, because runs of two may have one key.
    """
    with open_vsphere(site) as session:
        if vcenter is not None:
            require_server(session, vcenter, vm)
        removed = 0
        for snapshot in snapshots.find_by_run(session, vm, run):
            if repository is None or not snapshot.is_of_other(repository):
                snapshots.remove(session, vm, snapshot.moref)
                removed += 1
        consolidated = snapshots.consolidate_if_needed(session, vm)
        warnings = release(session)
        return Removal(snapshots_removed=removed, consolidated=consolidated, copies_fenced=fenced, warnings=warnings)
