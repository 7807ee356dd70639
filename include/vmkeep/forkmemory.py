"""Keeps values in memory for the processes that are forked from this one.

In Airflow each step of a run is a process of its own, forked from a worker, so that whatever one of them finds out is
lost for the next. A worker makes this memory before it forks; no folder and no database ever holds it.

The place and the key of a value come from a digest of its whole origin. So a process that does not know the origin,
e.g. the password that a value belongs to, can neither find the value nor read it. A value that two processes write at
once fails its check, and counts as missing. Values lapse.
"""

from __future__ import annotations

import mmap
import secrets
import struct
import time
from contextlib import suppress
from typing import Final

from blake3 import blake3

_CONTEXT: Final = "vmkeep values kept for several processes"
_SALT: Final = 32
_HEAD: Final = struct.Struct("<32sQI12s")
"""Tag, time of expiry in seconds of the monotonic clock, length of the encrypted value, nonce."""
_PLACES: Final = 16
_ENTRY: Final = 32768
_SIZE: Final = _SALT + _PLACES * _ENTRY


class ForkMemory:
    """Sixteen places for values of some kilobytes."""

    def __init__(self) -> None:
        """Make an empty memory with its own random salt."""
        self._map = mmap.mmap(-1, _SIZE)
        self._map[:_SALT] = secrets.token_bytes(_SALT)

    def load(self, origin: bytes) -> bytes | None:
        """Return the value that was kept for ``origin``; ``None``: there is none, or it has lapsed."""
        from cryptography.exceptions import InvalidTag  # later, because not every process that imports this needs it
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        tag, key = self._secrets(origin)
        at = self._place(tag)
        found, until, length, nonce = _HEAD.unpack_from(self._map, at)
        if found != tag or until < time.monotonic() or length > _ENTRY - _HEAD.size:
            return None
        sealed = self._map[at + _HEAD.size : at + _HEAD.size + length]
        with suppress(InvalidTag):
            return AESGCM(key).decrypt(nonce, sealed, tag)
        return None

    def store(self, origin: bytes, value: bytes, *, seconds: int) -> None:
        """Keep a value, in place of another one whose tag begins alike. One that is too large is not kept."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        tag, key = self._secrets(origin)
        nonce = secrets.token_bytes(12)
        sealed = AESGCM(key).encrypt(nonce, value, tag)
        if len(sealed) > _ENTRY - _HEAD.size:
            return
        at = self._place(tag)
        self._map[at + _HEAD.size : at + _HEAD.size + len(sealed)] = sealed
        _HEAD.pack_into(self._map, at, tag, int(time.monotonic()) + seconds, len(sealed), nonce)

    def forget(self, origin: bytes) -> None:
        """Keep the value for ``origin`` no longer."""
        tag, _ = self._secrets(origin)
        at = self._place(tag)
        if _HEAD.unpack_from(self._map, at)[0] == tag:
            self._map[at : at + _HEAD.size] = bytes(_HEAD.size)

    def _secrets(self, origin: bytes) -> tuple[bytes, bytes]:
        found = blake3(self._map[:_SALT] + origin, derive_key_context=_CONTEXT).digest(length=64)
        return found[:32], found[32:]

    def _place(self, tag: bytes) -> int:
        return _SALT + tag[0] % _PLACES * _ENTRY
