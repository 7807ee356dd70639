"""Tickets: each can be used once, for one more session or for one HTTP request to a host."""

import secrets
import threading
from dataclasses import dataclass


class CloneTickets:
    """Tickets for one more session of the same user."""

    def __init__(self) -> None:
        self._users: dict[str, str] = {}

    def issue(self, user: str) -> str:
        """A new ticket for a user."""
        ticket = "cst-VCT-" + secrets.token_hex(16)
        self._users[ticket] = user
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """Return the user of a ticket, or None. The ticket is used up."""
        return self._users.pop(ticket, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTicket:
    """The user and the HTTP request that a ticket is good for."""

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
        """Return the user of a ticket for this request, or None. Every use, also a wrong one, uses the ticket up."""
        with self._guard:
            ticket = self._tickets.pop(name, None)
        return ticket.user if ticket is not None and (ticket.method, ticket.url) == (method, url) else None
