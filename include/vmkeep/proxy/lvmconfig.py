"""Parses LVM's configuration, as ``lvm.conf`` holds it and ``lvmconfig`` prints it.

A section is ``name { … }``, a setting is ``key = value``, and a path such as ``devices/filter`` names a setting from
the top. A value is a number, a word, a text in single or double quotes, or a list of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

Value = str | int | list[str | int]

_TOKEN: Final = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<text>"(?:\\.|[^"\\])*"|'[^']*')
      | (?P<mark>[={}\[\],])
      | (?P<word>[^\s={}\[\],"'\#]+)""",
    re.VERBOSE | re.DOTALL,
)


class LvmConfigError(ValueError):
    """The text is no configuration of LVM."""


def parse_config(text: str) -> dict[str, Value]:
    """Return every setting by its path, e.g. ``devices/global_filter``. The last one of a path counts, as in LVM.

    :raises LvmConfigError: the text cannot be read.
    """
    tokens = list(_tokens(text))
    found: dict[str, Value] = {}
    sections: list[str] = []
    at = 0
    while at < len(tokens):
        kind, token = tokens[at]
        if (kind, token) == ("mark", "}"):
            if not sections:
                raise LvmConfigError("a section ends that has not begun")
            sections.pop()
            at += 1
            continue
        if kind == "mark" or at + 1 == len(tokens):
            raise LvmConfigError(f"{token!r} stands where a name has to stand")
        follower = tokens[at + 1]
        if follower == ("mark", "{"):
            sections.append(token)
            at += 2
        elif follower == ("mark", "="):
            value, at = _value(tokens, at + 2)
            found["/".join([*sections, token])] = value
        else:
            raise LvmConfigError(f"{token!r} is neither a section nor a setting")
    if sections:
        raise LvmConfigError(f"section {'/'.join(sections)} does not end")
    return found


def texts(settings: Mapping[str, Value], path: str) -> tuple[str, ...]:
    """Return a setting that is a text or a list of texts; none, if it is not set."""
    value = settings.get(path, [])
    return tuple(map(str, value if isinstance(value, list) else [value]))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise LvmConfigError(f"line {text.count(chr(10), 0, at) + 1} cannot be read")
        at = match.end()
        kind = match.lastgroup or ""
        if kind == "text":
            quote, inner = match[0][0], match[0][1:-1]
            yield "text", re.sub(r"\\(.)", r"\1", inner) if quote == '"' else inner
        elif kind != "blank":
            yield kind, match[0]


def _value(tokens: list[tuple[str, str]], at: int) -> tuple[Value, int]:
    if at == len(tokens):
        raise LvmConfigError("the last setting has no value")
    if tokens[at] != ("mark", "["):
        return _scalar(*tokens[at]), at + 1
    items: list[str | int] = []
    at += 1
    while at < len(tokens):
        kind, token = tokens[at]
        at += 1
        if (kind, token) == ("mark", "]"):
            return items, at
        if (kind, token) != ("mark", ","):
            items.append(_scalar(kind, token))
    raise LvmConfigError("a list does not end")


def _scalar(kind: str, token: str) -> str | int:
    if kind == "mark":
        raise LvmConfigError(f"{token!r} stands where a value has to stand")
    return int(token) if kind == "word" and re.fullmatch(r"-?\d+", token) else token
