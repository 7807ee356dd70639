"""Opens the servers and libraries that a site names, and first checks what would make all later steps fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Final

from vmkeep.clock import Deadline
from vmkeep.errors import StaleError, UsageError
from vmkeep.forkmemory import ForkMemory
from vmkeep.model.diskaccess import DriverProbe, Launch
from vmkeep.model.job import from_json, to_json
from vmkeep.model.site import Site
from vmkeep.transfer import choose_driver, probe_driver
from vmkeep.vsphere.onelogin import one_session
from vmkeep.vsphere.server import server_uuid
from vmkeep.vsphere.session import Session, open_session
from vmkeep.vsphere.vmnames import vms_named

log = logging.getLogger(__name__)

_STARTED: Final[dict[Launch, DriverProbe]] = {}
"""Disk drivers that a child of this process has started without error. Other files of a library make another key."""
_probes: ForkMemory | None = None
PROBE_SECONDS = 900
"""Seconds for which a try of a driver counts for the other steps of a worker."""
FENCE_SECONDS = 60.0
"""Seconds that a clean-up waits for transfers to stop. A transfer that is silent for 15 s counts as gone."""


def fence_deadline(run: str) -> Deadline:
    """Return the deadline for a run's transfers to stop once they are fenced."""
    return Deadline(FENCE_SECONDS, waiting_for=f"the transfers of run {run} to stop")


@contextmanager
def open_vsphere(site: Site) -> Iterator[Session]:
    """Open a session with the site's vCenter. Its certificate is checked before the password is sent.

    Errors of the body name VMs by name and id.
    """
    if site.vcenter is None:
        raise UsageError("no vCenter is given")
    with open_session(site.vcenter) as session, vms_named(session):
        yield session


def one_log_in(site: Site) -> AbstractContextManager[None]:
    """Let all steps in the body go on with one log-in to the site's vCenter."""
    return one_session(site.vcenter) if site.vcenter is not None else nullcontext()


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


def check_driver(site: Site) -> DriverProbe:
    """Start the disk driver in a child process, as a disk copy does, so that a broken library fails the run here.

    A process that works on many VMs tries each library only once. The steps of a worker try it once in a while, because
    starting it costs each of them more processor time than all its questions to vCenter.

    :returns: the driver's abilities.
    :raises UsageError: no driver can work on this machine, e.g. because no folder of VDDK is given.
    """
    choice = choose_driver(site)
    if choice.launch not in _STARTED:
        log.info("disk driver %s (%s): %s", choice.name, choice.launch.title, choice.reason)
        _STARTED[choice.launch] = _probe(site, choice.launch)
    return _STARTED[choice.launch]


def share_probes() -> None:
    """Let the processes that are forked from this one share what their tries of disk drivers told. Callable again."""
    global _probes
    _probes = _probes or ForkMemory()


def _probe(site: Site, launch: Launch) -> DriverProbe:
    """Try a driver, unless another process has done so lately. A driver that failed is tried again each time."""
    memory, origin = _probes, to_json(launch)
    kept = memory.load(origin) if memory is not None else None
    if kept is not None:
        return from_json(DriverProbe, kept)
    probe = probe_driver(site)
    if memory is not None:
        memory.store(origin, to_json(probe), seconds=PROBE_SECONDS)
    return probe
