"""Opens the servers and libraries that a site names, and first checks what would make all later steps fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmkeep.clock import Deadline
from vmkeep.errors import StaleError, UsageError
from vmkeep.model.site import Site
from vmkeep.transfer import probe_vddk
from vmkeep.vddk.folder import find_library, require_folder
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session, open_session

_LOADED: Final[set[tuple[Path, int, int]]] = set()
"""VDDK libraries that were loaded without error in a child of this process; see :func:`_state`."""
FENCE_SECONDS = 60.0
"""Seconds that a clean-up waits for transfers to stop. A transfer that is silent for 15 s counts as gone."""


def fence_deadline(run: str) -> Deadline:
    """Return the deadline for a run's transfers to stop once they are fenced."""
    return Deadline(FENCE_SECONDS, waiting_for=f"the transfers of run {run} to stop")


@contextmanager
def open_vsphere(site: Site) -> Iterator[Session]:
    """Open a session with the site's vCenter. Its certificate is checked before the password is sent."""
    if site.vcenter is None:
        raise UsageError("no vCenter is given")
    with open_session(site.vcenter) as session:
        yield session


def require_server(session: Session, vcenter: str | None, vm_name: str) -> None:
    """Return if this is the server at which a VM was found. At another server its id means another VM, or none.

    :raises StaleError: the connection leads to another server by now; nothing was done.
    """
    here = server_uuid(session)
    if here != vcenter:
        raise StaleError(
            f"VM {vm_name} was found at vCenter {vcenter or 'unknown'}, and {session.host} is another one "
            f"({here or 'unknown'}): start a new run"
        )


def pinned(site: Site, session: Session) -> Site:
    """Return the site with the thumbprints of the certificate that was just verified, in the form that VDDK takes."""
    if site.vcenter is None:
        raise UsageError("no vCenter is given")
    sha1, sha256 = session.thumbprint_sha1, session.thumbprint_sha256
    return replace(site, vcenter=replace(site.vcenter, thumbprint=sha1, also_sha256=sha256))


def check_vddk(site: Site) -> None:
    """Load VDDK in a child process, as a disk copy does, so that a missing or broken library fails the run here.

    A process that works on many VMs tries each library only once.

    :raises UsageError: no folder is given, or it holds no VDDK for this machine.
    """
    folder = require_folder(site.vddk)
    state = _state(find_library(folder).path)
    if state not in _LOADED:
        probe_vddk(folder)
        _LOADED.add(state)


def _state(library: Path) -> tuple[Path, int, int]:
    """Return a value that changes when somebody replaces the library or the files beside it."""
    return library, library.stat().st_mtime_ns, library.parent.stat().st_mtime_ns
