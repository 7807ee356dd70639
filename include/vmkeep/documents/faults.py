"""A fault in a file that a person wrote: its place, and the value that is expected there."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A place in a file, as editors count: from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """A fault of a file, with its place."""

    place: Place = field(default_factory=Place)
    message: str
