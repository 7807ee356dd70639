"""Pre-shared keys of clients, in the file that GnuTLS's ``psktool`` writes: ``user:hexkey`` on each line."""

from __future__ import annotations

import binascii
import stat
from pathlib import Path
from typing import Final

from vmkeep.errors import UsageError

_LONGEST_FILE: Final = 1 << 20
_LONGEST_USER: Final = 128
_SHORTEST, _LONGEST = 16, 64
"""Bytes of a key. psktool makes 32. A shorter key than 16 can be guessed; GnuTLS takes none longer than 64."""

Keys = dict[bytes, bytes]
"""User → key."""


def load_keys(path: Path) -> Keys:
    """Read a file of keys.

    :raises UsageError: it cannot be read, others can read it, or a line holds no user with a key.
    """
    try:
        mode = path.stat().st_mode
        with path.open("rb") as opened:
            content = opened.read(_LONGEST_FILE + 1)
    except OSError as error:
        raise UsageError(f"key file {path}: {error.strerror}") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"key file {path} is open to others on this machine: run 'chmod 600 {path}'")
    if len(content) > _LONGEST_FILE:
        raise UsageError(f"key file {path}: is longer than {_LONGEST_FILE} bytes: name the file that psktool wrote")
    keys: Keys = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip() or line.startswith(b"#"):
            continue
        user, key = _entry(line.strip(), f"key file {path}, line {number}")
        keys[user] = key
    if not keys:
        raise UsageError(f"key file {path}: holds no key: make one with 'psktool --username NAME --pskfile {path}'")
    return keys


def _entry(line: bytes, where: str) -> tuple[bytes, bytes]:
    """Take a line apart. The message of an error never repeats it, because it may hold a key."""
    user, colon, digits = line.rpartition(b":")
    if not colon or not 0 < len(user) <= _LONGEST_USER or b"\0" in user:
        raise UsageError(f"{where}: is not 'user:hexkey'")
    try:
        key = binascii.unhexlify(digits)
    except binascii.Error:
        raise UsageError(f"{where}: the key is not in hexadecimal digits") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise UsageError(f"{where}: a key has {_SHORTEST} to {_LONGEST} bytes, and this one {len(key)}")
    return user, key
