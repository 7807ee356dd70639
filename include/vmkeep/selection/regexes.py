"""Refuses regular expressions whose search might never end.

Python's matcher tries every way to read a name. A repeated group whose content can be read in several ways doubles the
work with each character: a search for ``(a+)+$`` in eighty letters never ends. So a repeated group must hold neither a
repetition nor alternatives. Repetitions and choices beside one another multiply the work, so a pattern has few of them.
"""

from __future__ import annotations

import re
import warnings

from vmkeep.lateclass import dataclass

_MOST_REPETITIONS = 5
"""Number of ``*``, ``+`` and ``{…}``. Five of them take half a second for the longest name, and ten take years."""
_MOST_CHOICES = 10
"""Number of ``?`` and of groups with alternatives."""
_MOST_BESIDE = {3: 8, 4: 5, 5: 1}
"""Number of choices beside so many repetitions, because each choice doubles the work of them all."""
_PIECE = re.compile(
    r"\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]|\((?:\?(?:P<\w+>|<?[=!]|[aiLmsux-]*[:)]|>))?|\{\d*,?\d*\}|.", re.DOTALL
)
"""An escape, a class, the beginning of a group, flags in brackets, a counted repetition, or one character."""


def why_not_regex(pattern: str) -> str | None:
    """Return why a pattern is no regular expression, or one that may not end; ``None``: it can be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError, Warning) as error:
        return f"this is no regular expression: {error}"
    return _why_endless(pattern)


def _why_endless(pattern: str) -> str | None:
    pieces = [found[0] for found in _PIECE.finditer(pattern)]
    groups = [_Group()]
    repetitions = choices = 0
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece.startswith("(") and not piece.endswith(")"):
            groups.append(_Group())
        elif piece == ")" and len(groups) > 1:
            closed = groups.pop()
            if closed.several and _repeats(following):
                return (
                    "a group that is repeated must not hold alternatives or repetitions, because a search for it may "
                    "not end: write it without the inner ones, or use several conditions with 'or'"
                )
            choices += closed.parted
            groups[-1].several |= closed.several
        elif piece in ("|", "?") or _repeats(piece):
            groups[-1].several = True
            groups[-1].parted |= piece == "|"
            repetitions += _repeats(piece)
            choices += piece == "?"
    if repetitions > _MOST_REPETITIONS:
        return (
            f"expected at most {_MOST_REPETITIONS} repetitions (* + {{…}}) in a pattern, because a search may not end"
        )
    if choices > (most := _MOST_BESIDE.get(repetitions, _MOST_CHOICES)):
        return (
            f"expected at most {most} choices (? and groups with alternatives) beside {repetitions} repetitions "
            "(* + {…}), because a search may not end"
        )
    return None


@dataclass(slots=True)
class _Group:
    """A group that is open, or the pattern itself."""

    several: bool = False
    """Its content can be read in several ways."""
    parted: bool = False
    """It holds alternatives."""


def _repeats(piece: str) -> bool:
    return piece in ("*", "+") or (piece.startswith("{") and piece.endswith("}") and piece != "{}")
