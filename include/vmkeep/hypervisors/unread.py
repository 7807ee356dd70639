"""Puts into words which parts of a strange description a machine does not get."""

from __future__ import annotations

from collections.abc import Sequence

from vmkeep.hypervisors.written import one_line
from vmkeep.model.portable import LeftOut

_LONGEST_VALUE = 60
_MOST = 100
_SECRET = ("guestinfo.", "password", "secret", "token")
"""Parts of the names of settings whose values are not told, because they may be secrets."""

UNKNOWN_CARD = "the new machine gets an Intel E1000, for which nearly every system has a driver: change it by hand"
UNKNOWN_CONTROLLER = (
    "the new machine gets an LSI Logic controller: if the guest does not start, change the controller's type"
)


def shown(text: str) -> str:
    """Return a short text of one line for a note."""
    plain = one_line(text)
    return plain if len(plain) <= _LONGEST_VALUE else f"{plain[:_LONGEST_VALUE]}…"


def setting(name: str, value: str) -> str:
    """Return a setting in words, without its value where that may be a secret."""
    hidden = any(part in name.lower() for part in _SECRET)
    return shown(name) if hidden else f"{shown(name)}={shown(value)}"


def settings(found: Sequence[str]) -> tuple[LeftOut, ...]:
    """Return the note about settings that no machine here has a place for."""
    if not found:
        return ()
    more = f", and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return (
        LeftOut(
            part=f"settings ({', '.join(found[:_MOST])}{more})",
            why="the new machine has the usual ones: set by hand those that the guest needs",
        ),
    )
