"""Caches derived keys in memory, for the processes that are forked from this one.

Deriving a key from a passphrase takes long. Airflow runs each task in its own process, forked from a worker, and a
backup has several tasks; without the cache each of them would derive the key again. The cache is an anonymous file in
memory that the worker makes before it forks; no folder ever holds it. Like all memory it may be swapped to disk, and so
may the passphrase beside it.

An entry's place and its mask come from a digest of everything that its key was derived from, the passphrase included.
So a process that does not know the passphrase can neither find the entry nor read it. If several processes write at
once, an entry may be a mixture; its check value shows that, and the key is derived again. Entries expire, so that a key
service is asked again from time to time.
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
"""Tag, masked key, time of expiry in seconds of the monotonic clock, check value."""
_PLACES: Final = 32
_SIZE: Final = _SALT + _PLACES * _ENTRY.size


class KeyCache:
    """A cache in an anonymous file; any number of processes may map it."""

    def __init__(self, descriptor: int) -> None:
        """Map a cache.

        :param descriptor: file descriptor of a file that :meth:`make` made.
        """
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)

    @classmethod
    def make(cls) -> KeyCache:
        """Make an empty cache with its own random salt."""
        descriptor = os.memfd_create("vmkeep-keys", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE)
        made = cls(descriptor)
        made._map[:_SALT] = secrets.token_bytes(_SALT)
        return made

    def load(self, origin: bytes) -> bytes | None:
        """Return the key that was derived from ``origin``; ``None``: it is not in the cache."""
        tag, mask, seal = self._secrets(origin)
        found, masked, until, check = _ENTRY.unpack_from(self._map, self._place(tag))
        if found != tag or check != _check(seal, tag, masked, until) or until < time.monotonic():
            return None
        return _xor(masked, mask)

    def store(self, origin: bytes, key: bytes) -> None:
        """Keep a key of 32 bytes, in place of another key whose tag begins alike."""
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
    """Cache derived keys from now on, for this process and those forked from it. May be called again.

    If the kernel offers no anonymous files, each process derives its own keys.
    """
    global _shared
    with suppress(OSError):
        _shared = _shared or KeyCache.make()


def derived_once(origin: bytes, derive: Callable[[], bytes]) -> bytes:
    """Return the key that belongs to ``origin``: from the cache, or else from ``derive``."""
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
