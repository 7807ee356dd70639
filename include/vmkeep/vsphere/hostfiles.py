"""Reads files of a running VM from the host on which the VM runs.

Only the host that holds a file's lock can read it, but vCenter hands a request to any host with the datastore. So
vCenter is asked for a ticket (``AcquireGenericServiceTicket``), which allows one method on one URL of the right host.
The host must show the certificate that vCenter knows of it, and no password is sent there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from vmkeep.errors import CertificateError, NotFoundError, UnreachableError, VmKeepError, VSphereError
from vmkeep.model.site import VCenter
from vmkeep.vsphere.api import vim
from vmkeep.vsphere.connection import PinnedConnection
from vmkeep.vsphere.faults import speaking
from vmkeep.vsphere.http import exchange
from vmkeep.vsphere.names import decode_name
from vmkeep.vsphere.paths import DatastorePath
from vmkeep.vsphere.properties import read, read_each
from vmkeep.vsphere.session import Session
from vmkeep.vsphere.trust import Trust

EXCHANGE_SECONDS = 30.0
"""Seconds for one exchange. A file has only some kilobytes, and the VM's snapshot grows meanwhile."""
LIMIT = 16 << 20
_ADDRESSES = 2
"""Number of a host's management addresses that are tried before its name."""
_HTTPS, _AUTHD = 443, 902
HOST_PATHS = ("name", "summary.config.port", "summary.config.sslThumbprint", "config.virtualNicManagerInfo")
"""Properties of a host that tell where it is and how to recognise it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnHost:
    """The host that a VM runs on, as vCenter knows it."""

    name: str
    addresses: tuple[str, ...]
    """Addresses to try, in this order."""
    port: int
    thumbprint: str | None
    """Thumbprint of the host's certificate; ``None``: vCenter does not tell."""


def own_host(session: Session, moref: str) -> OwnHost | None:
    """Return the host that holds a VM's files; ``None``: no host does, or the session is with the host itself."""
    if not session.is_vcenter:
        return None
    with speaking(f"look for the host of VM {moref}"):
        values = read(session, session.vm(moref), "runtime.powerState", "runtime.host")
        host = values["runtime.host"]
        if host is None or values["runtime.powerState"] == vim.VirtualMachine.PowerState.poweredOff:
            return None
        known = _known(session, host)
    name = decode_name(known["name"] or "")
    port = known["summary.config.port"]
    return OwnHost(
        name=name,
        addresses=(*list(_management(known["config.virtualNicManagerInfo"]))[:_ADDRESSES], name),
        # Some servers give the port of the NFC service here, which speaks no HTTP.
        port=port if port and port != _AUTHD else _HTTPS,
        thumbprint=known["summary.config.sslThumbprint"],
    )


def _known(session: Session, host: Any) -> dict[str, Any]:
    """Return the addresses and the certificate of a host, as far as the user may see them."""
    found = read_each(session, [host], *HOST_PATHS)
    return found[0][1] if found else dict.fromkeys(HOST_PATHS)


def read_file(session: Session, host: OwnHost, path: DatastorePath) -> bytes:
    """Return the content of a file, as its host has it.

    :raises NotFoundError: the host has no such file.
    :raises VmKeepError: the host does not answer in time, is not the one that vCenter knows, or refuses.
    """
    if not host.thumbprint:
        raise VSphereError(f"vCenter tells no thumbprint of host {host.name}, so nothing is sent to it")
    failed: VmKeepError | None = None
    for address in host.addresses:
        try:
            return _read(
                session, VCenter(host=address, port=host.port, user="", password="", thumbprint=host.thumbprint), path
            )
        except (UnreachableError, CertificateError) as error:
            failed = (
                failed or error
            )  # try the next address, because another machine may have this one in the proxy's network
    assert failed is not None
    raise failed


def _read(session: Session, at: VCenter, path: DatastorePath) -> bytes:
    target = f"/folder/{quote(path.path)}?dsName={quote(path.datastore, safe='')}"
    place = f"{_bracketed(at.host)}:{at.port}" if at.port != _HTTPS else _bracketed(at.host)
    spec = vim.SessionManager.HttpServiceRequestSpec(method="httpGet", url=f"https://{place}{target}")
    trust = Trust(at)
    connection = PinnedConnection(at.host, at.port, trust=trust, call_timeout=EXCHANGE_SECONDS)
    with contextlib.closing(connection):
        connection.connect()  # before asking for a ticket, because a host that fails mostly fails here
        with speaking(f"ask for a ticket for {at.host}"):
            ticket = session.content.sessionManager.AcquireGenericServiceTicket(spec)
        cookie = {"Cookie": f"vmware_cgi_ticket={ticket.id}"}
        status, data = exchange(connection, "GET", target, headers=cookie, body=None, limit=LIMIT)
    if status == 404:
        raise NotFoundError(f"read {path}: host {at.host} has no such file")
    if status != 200:
        raise VSphereError(f"read {path}: host {at.host} answers HTTP {status}")
    return data


def _management(info: Any) -> Iterator[str]:
    """Yield the addresses of a host's management network."""
    for use in getattr(info, "netConfig", None) or ():
        if use.nicType == "management":
            chosen = set(use.selectedVnic or ())
            for nic in use.candidateVnic or ():
                if nic.key in chosen and nic.spec is not None and nic.spec.ip is not None and nic.spec.ip.ipAddress:
                    yield nic.spec.ip.ipAddress


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
