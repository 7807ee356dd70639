"""Keys that took long to derive, kept for the processes that are forked from this one.

Airflow runs each task in a process of its own, forked from a worker, and a backup has a handful of them: without this,
each one pays for the passphrase again. The cache is an anonymous file in memory that the worker makes before it forks;
no folder ever holds it. Like all memory it may be swapped, and so may the passphrase beside it.

An entry is found by, and masked with, a digest of what its key was derived from, the passphrase included: a process
that does not know the passphrase can neither find the entry nor read it. Where several write at once, an entry may be
torn; its check tells, and the key is derived again. Entries lapse, so that a key service is asked again now and then.
"""

from __future__ import annotations

import mmap
import os
import secrets
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from blake3 import blake3

KEPT_SECONDS: Final = 3600
"""Seconds for which an entry holds; in this time the worker does not ask a key service again."""
_CONTEXT: Final = "vmkeep keys derived once for several processes"
_SALT: Final = 32
_ENTRY: Final = struct.Struct("<32s32sQ32s")
"""Tag, masked key, end of its time on the kernel's clock since boot, check."""
_PLACES: Final = 32
_SIZE: Final = _SALT + _PLACES * _ENTRY.size


class KeyCache:
    """A file in memory; any number of processes may have it mapped."""

    def __init__(self, descriptor: int) -> None:
        """Map a file that :meth:`make` made."""
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)

    @classmethod
    def make(cls) -> KeyCache:
        """Make an empty cache, whose salt no other one shares."""
        descriptor = os.memfd_create("vmkeep-keys", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        made = cls(descriptor)
        made._map[:_SALT] = secrets.token_bytes(_SALT)
        return made

    def load(self, origin: bytes) -> bytes | None:
        """Return the key that was derived from ``origin``, if it is here."""
        tag, mask, seal = self._secrets(origin)
        found, masked, until, check = _ENTRY.unpack_from(self._map, self._place(tag))
        if found != tag or check != _check(seal, tag, masked, until) or until < time.monotonic():
            return None
        return _xor(masked, mask)

    def store(self, origin: bytes, key: bytes) -> None:
        """Keep a key of 32 bytes; another one in the same place goes."""
        tag, mask, seal = self._secrets(origin)
        masked, until = _xor(key, mask), int(time.monotonic()) + KEPT_SECONDS
        _ENTRY.pack_into(self._map, self._place(tag), tag, masked, until, _check(seal, tag, masked, until))

    def _secrets(self, origin: bytes) -> tuple[bytes, bytes, bytes]:
        found = blake3(self._map[:_SALT] + origin, derive_key_context=_CONTEXT).digest(length=96)
        return found[:32], found[32:64], found[64:]

    def _place(self, tag: bytes) -> int:
        return _SALT + tag[0] % _PLACES * _ENTRY.size


_shared: KeyCache | None = None


def share_keys() -> None:
    """Keep derived keys from now on, for this process and those forked from it; again changes nothing.

    Where the kernel has no such files, each process derives its own.
    """
    global _shared
    with suppress(OSError):
        _shared = _shared or KeyCache.make()


def derived_once(origin: bytes, derive: Callable[[], bytes]) -> bytes:
    """Return the key that ``derive`` derives from ``origin``, derived already if keys are kept here."""
    if _shared is None:
        return derive()
    key = _shared.load(origin)
    if key is None:
        key = derive()
        _shared.store(origin, key)
    return key


def _check(seal: bytes, tag: bytes, masked: bytes, until: int) -> bytes:
    return blake3(tag + masked + struct.pack("<Q", until), key=seal).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(32)
