"""Refuses names that a stranger may have put into a file system to lead a writer astray."""

from __future__ import annotations

import re
from typing import Final

from vmkeep.errors import CorruptError, UnsupportedError

_DRIVE: Final = re.compile(r"[A-Za-z]:")


def check_name(name: str) -> None:
    """Return if a name can be that of a file in a folder.

    :raises CorruptError: it is empty, names a folder above, or holds a slash or a zero byte.
    """
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise CorruptError(f"its name {name!r} is not one that a file can have")


def name_bytes(text: str) -> bytes:
    """Return a name or a path as this machine writes it: UTF-8, and all else as the guest had it.

    A lone half of a UTF-16 pair, which only Windows allows, becomes the three bytes that UTF-8 would have for it.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def writable_text(text: str) -> str:
    """Return a text that any library turns into the bytes of :func:`name_bytes`."""
    return name_bytes(text).decode("utf-8", "surrogateescape")


def check_zip_name(path: str) -> None:
    """Return if a relative path means the same to every program that unpacks a zip archive.

    :raises UnsupportedError: it is no text, or Windows programs would read it as another path.
    """
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        raise UnsupportedError("a zip archive holds no name that is not UTF-8; choose a tar archive") from None
    if "\\" in path or _DRIVE.match(path):
        raise UnsupportedError("programs on Windows read its name as a path of another place; choose a tar archive")
