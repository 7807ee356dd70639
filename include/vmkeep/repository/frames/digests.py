"""Names of stored things: BLAKE3 of their content, in a domain of its own for every kind of thing.

Domains keep a guest from writing a block that passes for a map page. Blocks have the plain digest, everything
else a derived one. An encrypted repository keys them all; then names tell nothing about content.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from blake3 import blake3

from vmkeep.blobs import Bytes

DIGEST_SIZE = 32
ZERO = bytes(DIGEST_SIZE)
"""Reserved digest: a block, or a whole subtree of a map, that is all zeros and stored nowhere."""


class Kind(IntEnum):
    """The kind of thing a frame holds."""

    BLOCK = 1
    PAGE = 2
    FOOTER = 3
    INDEX = 4
    MANIFEST = 5
    NOTE = 6
    """A run's lease, cursor or result."""


_CONTEXTS = {kind: f"vmkeep repository format 1: {kind.name.lower()}" for kind in Kind if kind is not Kind.BLOCK}


class Digester:
    """Digests in the domains of one repository."""

    def __init__(self, keys: Mapping[Kind, bytes] | None = None) -> None:
        """Prepare.

        :param keys: a 32-byte key for each kind, in an encrypted repository.
        """
        self._keys = keys

    def of(self, kind: Kind, data: Bytes) -> bytes:
        """Return the 32-byte digest; lets other threads run while it works on anything over 2 KiB."""
        if self._keys is not None:
            return blake3(data, key=self._keys[kind]).digest()
        if kind is Kind.BLOCK:
            return blake3(data).digest()
        return blake3(data, derive_key_context=_CONTEXTS[kind]).digest()
