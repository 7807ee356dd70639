"""Regular expressions that end: such a pattern is refused as could take longer than a life on some name.

Python's matcher tries every way to read a name. A group that is repeated, and whose content can be read in several
ways, doubles the work with each character: ``(a+)+$`` on eighty letters never ends. So a repeated group must have
neither a repetition nor alternatives in it, and a pattern has only so many repetitions.
"""

from __future__ import annotations

import re
import warnings

_MOST_REPETITIONS = 10
_PIECE = re.compile(
    r"\\.|\[\^?\]?(?:[^\]\\]|\\.)*\]|\((?:\?(?:P<\w+>|<?[=!]|[aiLmsux-]*:|>))?|\{\d*,?\d*\}|.", re.DOTALL
)
"""An escape, a class of characters, the beginning of a group, a counted repetition, or one character."""


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
    open_groups = [False]  # for each group that is open, whether its content can be read in several ways
    repetitions = 0
    for piece, following in zip(pieces, [*pieces[1:], ""], strict=True):
        if piece.startswith("("):
            open_groups.append(False)
        elif piece == ")" and len(open_groups) > 1:
            several = open_groups.pop()
            if several and _repeats(following):
                return (
                    "a group that is repeated must not hold alternatives or repetitions, because a search for it may "
                    "not end: write it without the inner ones, or use several conditions with 'or'"
                )
            open_groups[-1] |= several
        elif piece == "|" or piece == "?" or _repeats(piece):
            open_groups[-1] = True
            repetitions += _repeats(piece)
    if repetitions > _MOST_REPETITIONS:
        return (
            f"expected at most {_MOST_REPETITIONS} repetitions (* + {{…}}) in a pattern, because a search may not end"
        )
    return None


def _repeats(piece: str) -> bool:
    return piece in ("*", "+") or (piece.startswith("{") and piece.endswith("}") and piece != "{}")
