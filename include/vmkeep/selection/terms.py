"""The tree of a selector: conditions, joined by ``not``, ``and``, ``or``. It prints itself as it can be typed."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from enum import StrEnum

from vmkeep.lateclass import dataclass


class Kind(StrEnum):
    """The words before the colon: by what a condition chooses VMs."""

    NAME = "name"
    NAME_REGEX = "name~"
    IPADDR = "ipaddr"
    UUID = "uuid"
    MOREF = "moref"
    POWERSTATE = "powerstate"
    TAG = "tag"
    ATTRIBUTE = "attribute"
    FOLDER = "folder"
    POOL = "pool"
    CLUSTER = "cluster"
    HOST = "host"
    DATASTORE = "datastore"
    VAPP = "vapp"
    ANY = "any"
    NONE = "none"


VALUELESS = (Kind.ANY, Kind.NONE)
"""Kinds that take no value: every VM, and no VM."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One ``kind:value``. The value is Unicode in its composed form (NFC), because two forms of a name are one name."""

    kind: Kind
    value: str = ""

    def __post_init__(self) -> None:
        """Bring the value into its composed form."""
        object.__setattr__(self, "value", unicodedata.normalize("NFC", self.value))

    def __str__(self) -> str:
        """The condition as it can be typed, its value in quotes where it needs them."""
        return f"{self.kind}:{self.value if self.kind in VALUELESS else printed_value(self.value)}"


@dataclass(frozen=True, slots=True)
class Not:
    """The VMs that do not fit its part."""

    part: Selector

    def __str__(self) -> str:
        """``not`` and the part, in brackets if it joins others."""
        return f"not {_within(self.part, And, Or)}"


@dataclass(frozen=True, slots=True)
class And:
    """The VMs that fit all parts, of which there are at least two."""

    parts: tuple[Selector, ...]

    def __str__(self) -> str:
        """The parts with ``and`` between them."""
        return " and ".join(_within(part, And, Or) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or:
    """The VMs that fit any of the parts, of which there are at least two."""

    parts: tuple[Selector, ...]

    def __str__(self) -> str:
        """The parts with ``or`` between them."""
        return " or ".join(_within(part, Or) for part in self.parts)


Selector = Condition | Not | And | Or


def conditions(selector: Selector) -> Iterator[Condition]:
    """Yield every condition of a tree, from left to right."""
    match selector:
        case Condition():
            yield selector
        case Not(part):
            yield from conditions(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from conditions(part)


def printed_value(value: str) -> str:
    """Return a value as it stands behind a colon: bare where that is read as the same value, else in JSON's quotes."""
    if value and value.isprintable() and " " not in value and value[0] not in "\"'" and _balanced(value):
        return value
    return f'"{"".join(map(_escaped, value))}"'


def _within(part: Selector, *brackets: type) -> str:
    return f"({part})" if isinstance(part, brackets) else str(part)


def _escaped(character: str) -> str:
    return json.dumps(character, ensure_ascii=not character.isprintable())[1:-1]


def _balanced(value: str) -> bool:
    depth = 0
    for each in value:
        depth += (each == "(") - (each == ")")
        if depth < 0:
            return False
    return depth == 0
