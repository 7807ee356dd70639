"""Writes the words of pages: times with their distance from now, sizes, and names that cannot disguise themselves."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.model.wording import age, size

_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Categories of characters that show nothing, turn the direction of the text, or end a line."""


_NOW: Final = 60.0
"""Seconds that count as no distance from now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time as a page shows it."""

    iso: str
    """UTC, for programs."""
    shown: str
    """UTC, for people."""
    ago: str
    """The distance from now, in words."""


def plain(text: str) -> str:
    """Return a text in which each character that nobody sees, or that turns the text's direction, is spelled out.

    A VM's name is chosen by whoever may rename the VM. A mark that writes the rest of a line from right to left would
    let one VM look like another.
    """
    return "".join(f"\\u{ord(each):04x}" if unicodedata.category(each) in _UNSEEN else each for each in text)


def moment(at: datetime | None, now: datetime) -> Moment | None:
    """Return a time as a page shows it."""
    if at is None:
        return None
    passed = (now - at).total_seconds()
    ago = f"{age(passed)} ago" if passed > 0 else f"{age(-passed)} ahead of this server's clock"
    if abs(passed) < _NOW:
        ago = "just now"
    return Moment(iso=at.strftime("%Y-%m-%dT%H:%M:%SZ"), shown=at.strftime("%Y-%m-%d %H:%M UTC"), ago=ago)


def length(seconds: float) -> str:
    """Return a length of time in words, seconds included."""
    return f"{max(0.0, seconds):.0f} s" if seconds < _NOW else age(seconds)


def shown_size(count: int) -> str:
    """Return a number of bytes as people read it."""
    return size(count)
