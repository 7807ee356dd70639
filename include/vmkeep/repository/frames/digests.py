"""Digests: the BLAKE3 of stored content, in a separate domain for each kind of content.

Domains keep a guest from writing a block that passes for a map page. Blocks have BLAKE3's plain digest; the other kinds
use its key derivation mode with a context for each kind. In an encrypted repository all digests are keyed, so that a
digest tells nothing about the content to somebody without the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from blake3 import blake3

from vmkeep.blobs import Bytes

DIGEST_SIZE = 32
ZERO = bytes(DIGEST_SIZE)
"""Reserved digest of a block, or of a whole subtree of a map, that is all zeros. Such content is not stored."""


class Kind(IntEnum):
    """The kind of content that a frame holds."""

    BLOCK = 1
    PAGE = 2
    FOOTER = 3
    INDEX = 4
    MANIFEST = 5
    NOTE = 6
    """A small blob beside the data, such as a lease, a pin or the result of a step."""


_CONTEXTS = {kind: f"vmkeep repository format 1: {kind.name.lower()}" for kind in Kind if kind is not Kind.BLOCK}


class Digester:
    """Computes digests in the domains of one repository."""

    def __init__(self, keys: Mapping[Kind, bytes] | None = None) -> None:
        """Prepare.

        :param keys: a 32-byte key for each kind; ``None``: the repository is not encrypted.
        """
        self._keys = keys

    def of(self, kind: Kind, data: Bytes) -> bytes:
        """Return the 32-byte digest. Other threads can run while it works on more than 2 KiB."""
        if self._keys is not None:
            return blake3(data, key=self._keys[kind]).digest()
        if kind is Kind.BLOCK:
            return blake3(data).digest()
        return blake3(data, derive_key_context=_CONTEXTS[kind]).digest()
