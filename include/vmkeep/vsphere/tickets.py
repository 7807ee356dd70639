"""Keeps log-ins to vCenters in memory, for the processes that are forked from this one.

A backup has several steps, and in Airflow each of them is a process of its own. Without this cache each step logs in
and out, which is a quarter of all its calls, and a thousand VMs make thousands of sessions. With it, the steps of all
VMs on one worker share one session. The cache is memory that the worker makes before it forks, so that no folder and
no database ever holds it.

The place and the key of an entry come from a digest of the whole login, the password and the pinned certificate
included. So a process that does not know the login can neither find the entry nor read it. An entry that two processes
write at once fails its check, and the next process logs in anew. Entries lapse, because a vCenter ends a session after
30 minutes without a call.
"""

from __future__ import annotations

import json
import mmap
import secrets
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Final

from blake3 import blake3

from vmkeep.model.site import VCenter

KEPT_SECONDS: Final = 1200
"""Seconds for which an entry holds after its last use."""
_CONTEXT: Final = "vmkeep log-ins kept for several processes"
_SALT: Final = 32
_HEAD: Final = struct.Struct("<32sQI12s")
"""Tag, time of expiry in seconds of the monotonic clock, length of the encrypted ticket, nonce."""
_PLACES: Final = 16
_ENTRY: Final = 32768
_SIZE: Final = _SALT + _PLACES * _ENTRY


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


class TicketCache:
    """A cache in memory that this process shares with those forked from it."""

    def __init__(self) -> None:
        """Make an empty cache with its own random salt."""
        self._map = mmap.mmap(-1, _SIZE)
        self._map[:_SALT] = secrets.token_bytes(_SALT)

    def load(self, vcenter: VCenter) -> Ticket | None:
        """Return the session of a login; ``None``: there is none, or it has lapsed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        tag, key = self._secrets(vcenter)
        at = self._place(tag)
        found, until, length, nonce = _HEAD.unpack_from(self._map, at)
        if found != tag or until < time.monotonic() or length > _ENTRY - _HEAD.size:
            return None
        sealed = self._map[at + _HEAD.size : at + _HEAD.size + length]
        with suppress(InvalidTag):
            return Ticket(**json.loads(AESGCM(key).decrypt(nonce, sealed, tag)))
        return None

    def store(self, vcenter: VCenter, ticket: Ticket) -> None:
        """Keep a session from now on, in place of another one whose tag begins alike."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        tag, key = self._secrets(vcenter)
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(key).encrypt(nonce, json.dumps(asdict(ticket)).encode(), tag)
        if len(sealed) > _ENTRY - _HEAD.size:
            return
        at = self._place(tag)
        self._map[at + _HEAD.size : at + _HEAD.size + len(sealed)] = sealed
        _HEAD.pack_into(self._map, at, tag, int(time.monotonic()) + KEPT_SECONDS, len(sealed), nonce)

    def _secrets(self, vcenter: VCenter) -> tuple[bytes, bytes]:
        origin = json.dumps(asdict(vcenter), sort_keys=True).encode()
        found = blake3(self._map[:_SALT] + origin, derive_key_context=_CONTEXT).digest(length=64)
        return found[:32], found[32:]

    def _place(self, tag: bytes) -> int:
        return _SALT + tag[0] % _PLACES * _ENTRY


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
