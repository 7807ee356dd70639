"""Passwords and passphrases from files and from the environment, whatever editor or system wrote them."""

from __future__ import annotations

import codecs
import stat
from pathlib import Path

from vmkeep.errors import UsageError

_LONGEST = 65536
"""Bytes of the longest file that is taken for one with a password."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def secret_from(file: str, what: str) -> str:
    """Return the first line of a file that not everyone may read, without line end and byte order mark."""
    path = Path(file)
    try:
        mode = path.stat().st_mode
        with path.open("rb") as opened:
            blob = opened.read(_LONGEST + 1)  # no more: it may be a device, or a disk's image by mistake
        if len(blob) > _LONGEST:
            raise UsageError(
                f"{what} file {path}: is longer than {_LONGEST} bytes: name the file with the {what} alone"
            )
        text = blob.decode("utf-16" if blob.startswith(_UTF_16) else "utf-8-sig")
    except OSError as error:
        raise UsageError(f"{what} file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} file {path}: is no text in UTF-8: save it as UTF-8") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(f"{what} file {path} can be read by anyone on this machine: run 'chmod 600 {path}'")
    secret = text.splitlines()[0] if text else ""
    if not secret:
        raise UsageError(f"{what} file {path}: its first line is empty")
    return secret


def require_typed(secret: str, what: str) -> str:
    """Return a password, unless it holds what nobody types, as after ``$(cat file)`` of a file from Windows.

    :raises UsageError: it does.
    """
    if not secret.isprintable():
        raise UsageError(
            f"{what} holds a line end or another character that nobody types: give the password alone, or its file"
        )
    return secret
