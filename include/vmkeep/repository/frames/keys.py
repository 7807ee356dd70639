"""The keys of an encrypted repository: all derived from one random master key, each for one purpose.

Frames are encrypted under a key for the blob they lie in, so that a blob under another's name does not decrypt, and
so that few frames share a key: nonces are random, and AES-GCM allows 2^32 of them under one key. Knows nothing of
passphrases: they only wrap the master key (``slots``).
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from blake3 import blake3

from vmkeep.repository.frames.digests import Digester, Kind

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MASTER_SIZE = 32


class Keys:
    """The derived keys of one repository. Its text form shows none of them."""

    def __init__(self, master: bytes, *, repository: str) -> None:
        """Derive them.

        :param repository: id of the repository: the same master key gives other keys in another one.
        """
        self.master = master
        self._repository = repository.encode()
        self._blobs = self._derive("blob keys")
        self._descriptor = self._derive("descriptor")

    def digester(self) -> Digester:
        """Return the keyed digester."""
        return Digester({kind: self._derive(f"digest of {kind.name.lower()}") for kind in Kind})

    def aead(self, name: str) -> AESGCM:
        """Return the cipher of all frames in the blob of that name."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # most repositories start without it

        return AESGCM(blake3(name.encode(), key=self._blobs).digest())

    def sign(self, data: bytes) -> str:
        """Return the code, in hex, that only a holder of the master key can make for a descriptor."""
        return blake3(data, key=self._descriptor).hexdigest()

    def _derive(self, purpose: str) -> bytes:
        context = f"vmkeep repository format 1: encrypted: {purpose}"
        return blake3(self.master + self._repository, derive_key_context=context).digest()


def new_master() -> bytes:
    """Return a new master key."""
    return secrets.token_bytes(MASTER_SIZE)
