"""Checks the value of a condition by its kind, before anything is asked of a server."""

from __future__ import annotations

import re
from collections.abc import Callable

from vmkeep.errors import SelectorError
from vmkeep.model.point import Power
from vmkeep.selection.regexes import why_not_regex
from vmkeep.selection.terms import Kind

_ESCAPE = re.compile(r"%(2f|3d|5c|25)", re.IGNORECASE)
_ESCAPED = {"2f": "/", "3d": "=", "5c": "\\", "25": "%"}


def check_value(kind: Kind, value: str, *, text: str, at: int) -> None:
    """Return if a condition of this kind can have this value.

    :param text: the whole selector, for the message.
    :param at: where the value begins in it.
    :raises SelectorError: it cannot; the message says what is expected.
    """
    if not value:
        raise SelectorError(f"the value of '{kind}:' is empty: expected at least one character", text=text, at=at)
    check = _CHECKS.get(kind)
    if check is not None and (why := check(value)) is not None:
        raise SelectorError(why, text=text, at=at)


def split_tag(value: str) -> tuple[str, str]:
    """Return category and name of a tag, as their patterns."""
    category, _, name = value.partition("/")
    return decode(category), decode(name)


def split_attribute(value: str) -> tuple[str, str]:
    """Return name and value of a custom attribute, as their patterns."""
    name, _, content = value.partition("=")
    return decode(name), content


def decode(text: str) -> str:
    """Return a part of a value without the escapes for the characters that part it."""
    return _ESCAPE.sub(lambda found: _ESCAPED[found[1].lower()], text)


def hex_digits(uuid: str) -> str:
    """Return the digits of a UUID; case, dashes and the blanks of a .vmx file mean nothing."""
    return re.sub(r"[\s-]", "", uuid).lower()


def _tag(value: str) -> str | None:
    if value.count("/") == 1 and all(value.split("/")):
        return None
    return "expected category/name, with one slash; a slash within a name is written %2f"


def _attribute(value: str) -> str | None:
    name, equals, content = value.partition("=")
    if name and equals and content:
        return None
    return "expected name=value; * is any value, and an equals sign within the name is written %3d"


def _uuid(value: str) -> str | None:
    if re.fullmatch(r"[0-9a-f]{32}", hex_digits(value)):
        return None
    return "expected a UUID: 32 hexadecimal digits, with dashes or without"


def _powerstate(value: str) -> str | None:
    states = tuple(Power)
    return None if value.lower() in states else f"expected {', '.join(states[:-1])} or {states[-1]}"


def _address(value: str) -> str | None:
    return "expected an address or a DNS name, without blanks" if re.search(r"\s", value) else None


def _path(value: str) -> str | None:
    parts = value.removeprefix("/").split("/")
    return None if all(parts) else "expected a name, or a path with a name between its slashes"


_CHECKS: dict[Kind, Callable[[str], str | None]] = {
    Kind.NAME_REGEX: why_not_regex,
    Kind.UUID: _uuid,
    Kind.POWERSTATE: _powerstate,
    Kind.IPADDR: _address,
    Kind.TAG: _tag,
    Kind.ATTRIBUTE: _attribute,
    Kind.FOLDER: _path,
    Kind.POOL: _path,
    Kind.VAPP: _path,
}
