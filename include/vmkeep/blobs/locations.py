"""Parses the locations of folders, as users write them.

A text that begins with ``file:`` is a URL: ``file:///path``, ``file://localhost/path`` or ``file:/path``. Everything
after the host is the path. That includes ``#`` and ``?``, because a folder has neither fragments nor queries. ``%`` and
two hex digits stand for one byte. Any other text that does not begin with ``scheme://`` is a path, in which only ``~``
is replaced.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote_to_bytes

from vmkeep.errors import UsageError

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://.*", re.DOTALL)
_FILE = re.compile(r"file:(?://(?P<host>[^/]*))?(?P<path>.*)", re.DOTALL | re.IGNORECASE)


def local_folder(location: str) -> Path:
    """Return the folder that a path or ``file:`` URL names.

    :raises UsageError: the location has another scheme, a host, or a URL's path that does not begin with a slash.
    """
    if not location:
        raise UsageError("no repository given; name a folder or set VMKEEP_REPOSITORY")
    url = _FILE.fullmatch(location)
    path = _path(location) if url is None else _path_of_url(location, url)
    if "\0" in str(path):
        raise UsageError(f"{location!r}: a folder's name cannot hold a zero byte")
    return path.absolute()


def _path(location: str) -> Path:
    if (match := _SCHEME.fullmatch(location)) is not None:
        raise UsageError(
            f"{location}: repositories of kind '{match['scheme']}://' are not supported; "
            "name a folder, or write s3://bucket/prefix or sftp://user@host/path"
        )
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{location}: there is no such home folder: {error}") from error


def _path_of_url(location: str, url: re.Match[str]) -> Path:
    if (url["host"] or "").lower() not in ("", "localhost"):
        raise UsageError(f"{location}: a file:// location has no host; write file:///path")
    path = os.fsdecode(unquote_to_bytes(url["path"]))
    if not path.startswith("/"):
        raise UsageError(f"{location}: the path of a file: location begins with a slash; write file:///path")
    return Path(path)
