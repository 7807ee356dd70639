"""Derives the key of a slot from a passphrase. This takes time and memory on purpose, against guessing.

New slots use Argon2id with the parameters that RFC 9106 recommends for limited memory. Slots with scrypt can be opened,
but are not made. Limits keep a forged slot from asking for too much time or memory.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

ARGON2ID, SCRYPT = "argon2id", "scrypt"
COST = {"t": 3, "m": 64 << 10, "p": 4}
"""Argon2id's passes, memory in KiB, and lanes, for new slots. One derivation takes about 0.1 s."""
_MAX_MEMORY = 1 << 30
_MAX_ARGON2 = {"t": 64, "m": _MAX_MEMORY >> 10, "p": 16}
_MAX_SCRYPT = {"n": 1 << 20, "r": 32, "p": 16}


def argon2id_key(fields: dict[str, Any], passphrase: str) -> bytes:
    """Return the 32-byte key of a slot of kind ``argon2id``.

    :raises ValueError: the slot's costs are invalid, or more than this program allows.
    """
    t, m, p = (int(fields[name]) for name in "tmp")
    if not (0 < t <= _MAX_ARGON2["t"] and 0 < p <= _MAX_ARGON2["p"] and 8 * p <= m <= _MAX_ARGON2["m"]):
        raise ValueError(f"Argon2id with t={t}, m={m}, p={p} is more than this program does")
    return _argon2id(passphrase.encode(), bytes.fromhex(fields["salt"]), t, m, p)


def scrypt_key(fields: dict[str, Any], passphrase: str) -> bytes:
    """Return the 32-byte key of a slot of kind ``scrypt``.

    :raises ValueError: the slot's costs are invalid, or more than this program allows.
    """
    n, r, p = (int(fields[name]) for name in "nrp")
    good = 2 <= n <= _MAX_SCRYPT["n"] and not n & (n - 1) and 0 < r <= _MAX_SCRYPT["r"] and 0 < p <= _MAX_SCRYPT["p"]
    if not good or 128 * n * r > _MAX_MEMORY:
        raise ValueError(f"scrypt with n={n}, r={r}, p={p} is more than this program does")
    return _scrypt(passphrase.encode(), bytes.fromhex(fields["salt"]), n, r, p)


@lru_cache(maxsize=8)
def _argon2id(passphrase: bytes, salt: bytes, t: int, m: int, p: int) -> bytes:
    """Derive a key. Results are kept, so that a program that opens a repository again need not derive it again."""
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    return Argon2id(salt=salt, length=32, iterations=t, lanes=p, memory_cost=m).derive(passphrase)


@lru_cache(maxsize=8)
def _scrypt(passphrase: bytes, salt: bytes, n: int, r: int, p: int) -> bytes:
    import hashlib

    return hashlib.scrypt(passphrase, salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY + (64 << 20), dklen=32)
