"""Tickets for one HTTP request to one host: issued by the vCenter, shown to the host as a cookie, used up by it."""

import secrets
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from vmlab.api import vim, vmodl
from vmlab.managed.registry import Call, method

Manager = vim.SessionManager
Spec = Manager.HttpServiceRequestSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTicket:
    """What a ticket is good for."""

    user: str
    method: str
    """`GET`, `PUT` …"""
    url: str


class ServiceTickets:
    """Tickets that nobody has used yet."""

    def __init__(self) -> None:
        self._tickets: dict[str, ServiceTicket] = {}
        self._guard = threading.Lock()

    def issue(self, ticket: ServiceTicket) -> str:
        """A new ticket's id."""
        name = "cst-VCT-" + secrets.token_hex(16)
        with self._guard:
            self._tickets[name] = ticket
        return name

    def redeem(self, name: str, method: str, url: str) -> str | None:
        """The user of a ticket that is for this request; once, and a wrong request uses it up too."""
        with self._guard:
            ticket = self._tickets.pop(name, None)
        return ticket.user if ticket is not None and (ticket.method, ticket.url) == (method, url) else None


@method(Manager, "AcquireGenericServiceTicket")
def acquire_generic_service_ticket(call: Call, spec: Any) -> Any:
    """A ticket for one method on one URL."""
    assert call.session is not None
    if not isinstance(spec, Spec):
        raise vmodl.fault.NotSupported(msg="vmlab issues tickets for HTTP requests only.")
    parts = urlsplit(spec.url)
    if parts.scheme != "https" or not parts.hostname:
        raise vmodl.fault.InvalidArgument(invalidProperty="spec.url", msg=f"{spec.url} is no URL of a host.")
    ticket = ServiceTicket(
        user=call.session.user, method=(spec.method or "httpGet").removeprefix("http").upper(), url=spec.url
    )
    thumbprints = {end.port: end.certificate.sha1 for end in call.site.host_ends.values()}
    return Manager.GenericServiceTicket(
        id=call.site.service_tickets.issue(ticket), sslThumbprint=thumbprints.get(parts.port or 443)
    )
