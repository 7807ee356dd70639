"""The keys of an encrypted repository, each derived for one purpose from one random master key.

Each blob has its own key for the frames in it. So a blob that was put under another name does not decrypt. And few
frames share a key, which matters because nonces are random and AES-GCM allows 2^32 of them under one key. This module
knows nothing of passphrases, which only wrap the master key (``unlock.slots``).
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
        """Derive the keys.

        :param repository: the repository's id, because the same master key must give other keys in another repository.
        """
        self.master = master
        self._repository = repository.encode()
        self._blobs = self._derive("blob keys")
        self._descriptor = self._derive("descriptor")

    def digester(self) -> Digester:
        """Return the keyed digester."""
        return Digester({kind: self._derive(f"digest of {kind.name.lower()}") for kind in Kind})

    def aead(self, name: str) -> AESGCM:
        """Return the cipher for all frames in the blob of that name."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # imported here, only if a repository needs it

        return AESGCM(blake3(name.encode(), key=self._blobs).digest())

    def sign(self, data: bytes) -> str:
        """Return the authentication code of a descriptor, in hex. Only a holder of the master key can compute it."""
        return blake3(data, key=self._descriptor).hexdigest()

    def _derive(self, purpose: str) -> bytes:
        context = f"vmkeep repository format 1: encrypted: {purpose}"
        return blake3(self.master + self._repository, derive_key_context=context).digest()


def new_master() -> bytes:
    """Return a new master key."""
    return secrets.token_bytes(MASTER_SIZE)
