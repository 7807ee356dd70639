"""Ends a restore that did not finish, with everything that it holds on its VM."""

from __future__ import annotations

from vmkeep.flows import vm_access
from vmkeep.flows.other_restores import end_restore
from vmkeep.flows.undo_snapshot import remove_temporary, remove_unused
from vmkeep.model.site import Site
from vmkeep.repository import Repository
from vmkeep.vsphere.session import Session


def end_with_holds(site: Site, session: Session, repository: Repository, run: str) -> int:
    """End a restore. Its snapshots go, but one by which it can be undone, and its VM can be moved again.

    :returns: the number of half-made VMs that were destroyed.
    """

    def release(moref: str) -> None:
        vm_access.release(site, session, repository, moref, run)
        remove_temporary(session, repository, moref, run)
        remove_unused(session, repository, moref, run)

    return end_restore(session, repository, run, release=release)
