"""The checksums that btrfs knows, over the part of a structure behind the checksum itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import xxhash

from vmkeep.guest.crc32c import crc32c


def _crc32c(data: bytes) -> bytes:
    return (crc32c(data, 0xFFFFFFFF) ^ 0xFFFFFFFF).to_bytes(4, "little")


def _xxhash(data: bytes) -> bytes:
    return xxhash.xxh64_intdigest(data).to_bytes(8, "little")


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _blake2b(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=32).digest()


CRC32C: Final = 0
CHECKSUMS: Final[dict[int, Callable[[bytes], bytes]]] = {CRC32C: _crc32c, 1: _xxhash, 2: _sha256, 3: _blake2b}
"""By the kind that the superblock names."""
ROOM: Final = 32
"""Bytes at the head of a structure for its checksum."""
