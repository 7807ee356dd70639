"""Recovery keys as people type them: 256 random bits and a checksum of 24 bits, in Crockford's base 32.

VMKR-5T0W2H1-…   8 groups of 7 characters; case does not matter, O is read as 0, and I and L as 1
"""

from __future__ import annotations

import secrets

from blake3 import blake3

from vmkeep.errors import UsageError

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MEANT = str.maketrans("OIL", "011", "- \t")
_PREFIX = "VMKR-"
_SIZE = 32
_CHECK = 3
_GROUPS, _GROUP = 8, 7


def new_recovery_key() -> bytes:
    """Return a new random recovery key."""
    return secrets.token_bytes(_SIZE)


def format_recovery_key(key: bytes) -> str:
    """Return a recovery key in its printed form."""
    number = int.from_bytes(key + _checksum(key), "big")
    digits = "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_GROUPS * _GROUP)))
    return _PREFIX + "-".join(digits[at : at + _GROUP] for at in range(0, len(digits), _GROUP))


def is_recovery_key(text: str) -> bool:
    """Return whether a text is meant to be a recovery key."""
    return text.strip().upper().startswith(_PREFIX)


def parse_recovery_key(text: str) -> bytes:
    """Return the recovery key that a person typed.

    :raises UsageError: the text has a typing mistake.
    """
    digits = text.strip().upper().removeprefix(_PREFIX).translate(_MEANT)
    if len(digits) != _GROUPS * _GROUP or set(digits) - set(_ALPHABET):
        raise UsageError(
            "recovery key: has 8 groups of 7 letters and digits after VMKR; compare it with the printed key"
        )
    number = 0
    for digit in digits:
        number = number << 5 | _ALPHABET.index(digit)
    data = number.to_bytes(_SIZE + _CHECK, "big")
    if _checksum(data[:_SIZE]) != data[_SIZE:]:
        raise UsageError("recovery key: has a typing mistake; compare it with the printed key")
    return data[:_SIZE]


def _checksum(key: bytes) -> bytes:
    return blake3(key, derive_key_context="vmkeep recovery key checksum").digest(_CHECK)
