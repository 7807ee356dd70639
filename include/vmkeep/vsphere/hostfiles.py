"""Reads files from an ESXi host itself: those of a running VM, and the bundle of the host's configuration.

Only the host that holds a file's lock can read it, but vCenter hands a request to any host with the datastore. So
vCenter is asked for a ticket (``AcquireGenericServiceTicket``), which allows one method on one URL of the right host.
The host must show the certificate that vCenter knows of it, and no password is sent there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from vmkeep.errors import (
    CertificateError,
    NotFoundError,
    PermissionDeniedError,
    UnreachableError,
    VmKeepError,
    VSphereError,
)
from vmkeep.lateclass import dataclass
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
    """A host with its own addresses and certificate, as vCenter knows them."""

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
        found = read_each(session, [host], *HOST_PATHS)
    return as_known(found[0][1] if found else dict.fromkeys(HOST_PATHS))


def as_known(values: Mapping[str, Any]) -> OwnHost:
    """Return a host from its properties, as far as the user may see them.

    :param values: the properties ``HOST_PATHS``.
    """
    name = decode_name(values["name"] or "")
    port = values["summary.config.port"]
    return OwnHost(
        name=name,
        addresses=(*list(_management(values["config.virtualNicManagerInfo"]))[:_ADDRESSES], name),
        # Some servers give the port of the NFC service here, which speaks no HTTP.
        port=port if port and port != _AUTHD else _HTTPS,
        thumbprint=values["summary.config.sslThumbprint"],
    )


def read_file(session: Session, host: OwnHost, path: DatastorePath) -> bytes:
    """Return the content of a file, as its host has it.

    :raises NotFoundError: the host has no such file.
    :raises VmKeepError: the host does not answer in time, is not the one that vCenter knows, or refuses.
    """
    target = f"/folder/{quote(path.path)}?dsName={quote(path.datastore, safe='')}"
    answer = ask(session, host, target, limit=LIMIT, seconds=EXCHANGE_SECONDS)
    if answer.status == 404:
        raise NotFoundError(f"read {path}: host {answer.address} has no such file")
    if answer.status != 200:
        raise VSphereError(f"read {path}: host {answer.address} answers HTTP {answer.status}")
    return answer.content


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of a host to a request for a file."""

    address: str
    """The address at which the host answered."""
    status: int
    content: bytes
    no_ticket: VmKeepError | None = None
    """The reason why the request had no ticket; ``None``: it had one."""


def ask(
    session: Session,
    host: OwnHost,
    target: str,
    *,
    limit: int,
    seconds: float,
    ticketless: bool = False,
) -> Answer:
    """Ask a host for a file, at each of its addresses in turn until the host that vCenter knows answers.

    :param target: path and query of the URL.
    :param limit: bytes that the file may have.
    :param seconds: time for the exchange with one address.
    :param ticketless: send the request without a ticket where vCenter refuses to make one.
    :raises VmKeepError: the host does not answer in time, is not the one that vCenter knows, or no ticket was made.
    """
    if not host.thumbprint:
        raise VSphereError(f"vCenter tells no thumbprint of host {host.name}, so nothing is sent to it")
    failed: VmKeepError | None = None
    for address in host.addresses:
        at = VCenter(host=address, port=host.port, user="", password="", thumbprint=host.thumbprint)
        try:
            return _ask(session, at, target, limit, seconds, ticketless=ticketless)
        except (UnreachableError, CertificateError) as error:
            failed = (
                failed or error
            )  # try the next address, because another machine may have this one in the proxy's network
    assert failed is not None
    raise failed


def _ask(session: Session, at: VCenter, target: str, limit: int, seconds: float, *, ticketless: bool) -> Answer:
    place = f"{_bracketed(at.host)}:{at.port}" if at.port != _HTTPS else _bracketed(at.host)
    connection = PinnedConnection(at.host, at.port, trust=Trust(at), call_timeout=seconds)
    with contextlib.closing(connection):
        connection.connect()  # before asking for a ticket, because a host that fails mostly fails here
        headers, refused = {}, None
        try:
            headers = {"Cookie": f"vmware_cgi_ticket={_ticket(session, at.host, f'https://{place}{target}')}"}
        except (VSphereError, PermissionDeniedError) as error:
            if not ticketless:
                raise
            refused = error
        status, content = exchange(connection, "GET", target, headers=headers, body=None, limit=limit)
    return Answer(address=at.host, status=status, content=content, no_ticket=refused)


def _ticket(session: Session, host: str, url: str) -> str:
    spec = vim.SessionManager.HttpServiceRequestSpec(method="httpGet", url=url)
    with speaking(f"ask for a ticket for {host}"):
        return str(session.content.sessionManager.AcquireGenericServiceTicket(spec).id)


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
