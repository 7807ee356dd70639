"""Keeps log-ins to vCenters in memory, for the processes that are forked from this one.

A backup has several steps, and in Airflow each of them is a process of its own. Without this cache each step logs in
and out, which is a quarter of all its calls, and a thousand VMs make thousands of sessions. With it, the steps of all
VMs on one worker share one session.

A session is found and read by its whole login only, the password and the pinned certificate included
(:mod:`vmkeep.forkmemory`). It lapses, because a vCenter ends a session after 30 minutes without a call.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from vmkeep.forkmemory import ForkMemory
from vmkeep.lateclass import dataclass
from vmkeep.model.site import VCenter

KEPT_SECONDS: Final = 1200
"""Seconds for which an entry holds after its last use."""
TOKEN_SECONDS: Final = 240
"""The same for an Automation session, because a vCenter may end one after 5 minutes without a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A session with a vCenter, as another process can go on with it. Not for logs."""

    version: str
    """Name of the API version that is spoken."""
    certificate: str
    """SHA-256 of the certificate that the server showed. Another one means another server."""
    cookie: str
    user_name: str
    session_key: str
    content: str
    """The server's ``ServiceContent``, as XML."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A session of a vCenter's Automation API, as another process can go on with it. Not for logs."""

    certificate: str
    """SHA-256 of the certificate that the server showed. Another one means another server."""
    path: str
    """Path at which the server has its sessions. It tells the form of all calls."""
    value: str


class TicketCache:
    """Tickets and tokens by login, in memory that this process shares with those forked from it."""

    def __init__(self) -> None:
        self._memory = ForkMemory()
        self._tokens = ForkMemory()

    def load(self, vcenter: VCenter) -> Ticket | None:
        """Return the session of a login; ``None``: there is none, or it has lapsed."""
        found = self._memory.load(_origin(vcenter))
        return Ticket(**json.loads(found)) if found is not None else None

    def store(self, vcenter: VCenter, ticket: Ticket) -> None:
        """Keep a session from now on."""
        self._memory.store(_origin(vcenter), json.dumps(asdict(ticket)).encode(), seconds=KEPT_SECONDS)

    def forget(self, vcenter: VCenter) -> None:
        """Keep no session of a login any more."""
        self._memory.forget(_origin(vcenter))

    def load_token(self, vcenter: VCenter) -> Token | None:
        """Return the Automation session of a login; ``None``: there is none, or it has lapsed."""
        found = self._tokens.load(_origin(vcenter))
        return Token(**json.loads(found)) if found is not None else None

    def store_token(self, vcenter: VCenter, token: Token) -> None:
        """Keep an Automation session from now on."""
        self._tokens.store(_origin(vcenter), json.dumps(asdict(token)).encode(), seconds=TOKEN_SECONDS)


def _origin(vcenter: VCenter) -> bytes:
    return json.dumps(asdict(vcenter), sort_keys=True).encode()


_shared: TicketCache | None = None
_lock = threading.Lock()
_users: int | None = 0
"""Count of the bodies of :func:`log_ins_kept` that run now; ``None``: log-ins are kept for good."""


def share_log_ins() -> None:
    """Keep log-ins from now on, for this process and those forked from it. May be called again."""
    global _shared, _users
    with _lock:
        _shared, _users = _shared or TicketCache(), None


@contextmanager
def log_ins_kept() -> Iterator[Callable[[], TicketCache | None]]:
    """Keep log-ins until the end of the body, or of the last such body of other threads.

    :returns: a function to call after the body. It returns the cache if this was the last body, whose log-ins are then
        to be ended; ``None``: others go on with them.
    """
    global _shared, _users
    last: TicketCache | None = None
    with _lock:
        _shared = _shared or TicketCache()
        _users = None if _users is None else _users + 1
    try:
        yield lambda: last
    finally:
        with _lock:
            if _users is not None:
                _users -= 1
                if not _users:
                    last, _shared = _shared, None


def kept(vcenter: VCenter) -> Ticket | None:
    """Return the session that a login has already; ``None``: it has none, or log-ins are not kept."""
    cache = _shared
    return cache.load(vcenter) if cache is not None else None


def keep(vcenter: VCenter, ticket: Ticket) -> bool:
    """Keep a session for the next process, or for longer. Return whether it is kept.

    A session of another process stays, because that process may work with it.
    """
    cache = _shared
    if cache is None:
        return False
    other = cache.load(vcenter)
    if other is not None and other.cookie != ticket.cookie:
        return False
    cache.store(vcenter, ticket)
    return cache.load(vcenter) is not None


def replace(vcenter: VCenter, ticket: Ticket) -> None:
    """Keep a session in place of one that has ended."""
    cache = _shared
    if cache is not None:
        cache.store(vcenter, ticket)


def forget(vcenter: VCenter, session_key: str) -> None:
    """Keep a session no longer, because it leads to no server any more. A newer one of the login stays."""
    cache = _shared
    ticket = kept(vcenter)
    if cache is not None and ticket is not None and ticket.session_key == session_key:
        cache.forget(vcenter)


def kept_token(vcenter: VCenter) -> Token | None:
    """Return the Automation session that a login has already; ``None``: it has none, or log-ins are not kept."""
    cache = _shared
    return cache.load_token(vcenter) if cache is not None else None


def keep_token(vcenter: VCenter, token: Token, *, ended: Token | None = None) -> bool:
    """Keep an Automation session for the next process, or for longer. Return whether it is kept.

    A session of another process stays, because that process may work with it.

    :param ended: the session that this one replaces, because the server knows it no longer.
    """
    cache = _shared
    if cache is None:
        return False
    if cache.load_token(vcenter) not in (None, ended, token):
        return False
    cache.store_token(vcenter, token)
    return cache.load_token(vcenter) is not None
