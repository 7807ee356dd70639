"""The address of a server as people write it, for example ``10.0.0.7:8443``, ``[fd00::1]:443`` or ``https://vc/sdk``."""

from __future__ import annotations

import re
from typing import Final

from vmkeep.errors import UsageError

_HOST: Final = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")
_PATHS: Final = ("", "sdk")
"""Paths that a user may add to a host's name without changing the address."""


def parse_address(text: str, *, what: str, user: str) -> tuple[str, int | None]:
    """Return the host and the port of an address; the port is ``None`` for the usual one.

    :param what: the option or setting that holds the text, for the message.
    :param user: the option or setting that takes a user's name, for the message.
    :raises UsageError: the text is not an address. The message never repeats a part that may be a password.
    """
    rest = _without_scheme(text.strip(), what)
    rest, *tail = re.split(r"[/?#]", rest, maxsplit=1)
    if "@" in rest:
        raise UsageError(f"{what}: holds a user's name before '@{rest.rpartition('@')[2]}': give that with {user}")
    if tail and tail[0].strip("/") not in _PATHS:
        raise UsageError(f"{what} {text}: a host's name has no path: leave out all that follows {rest}")
    host, port = _split(rest)
    if not _HOST.fullmatch(host):
        raise UsageError(f"{what} {text}: not HOST or HOST:PORT")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise UsageError(f"{what} {text}: not HOST or HOST:PORT, because a port is a number from 1 to 65535")
    return host, int(port) if port else None


def _without_scheme(text: str, what: str) -> str:
    scheme, sep, rest = text.partition("://")
    if not sep:
        return text
    if scheme.lower() != "https":
        raise UsageError(f"{what}: {scheme}:// is not supported, only https: give HOST, HOST:PORT or https://HOST")
    return rest


def _split(text: str) -> tuple[str, str]:
    host, bracket, port = text.partition("]")
    if bracket:
        return host.removeprefix("["), port.removeprefix(":")
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port
    return text, ""
