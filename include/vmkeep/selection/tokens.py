"""Cuts the text of a selector into words, brackets and conditions, each with its place in the text."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from enum import Enum

from vmkeep.errors import SelectorError
from vmkeep.lateclass import dataclass
from vmkeep.selection.terms import VALUELESS, Condition, Kind
from vmkeep.selection.values import check_value

_WORD = re.compile(r"[^\s()]+")
_KIND = re.compile(r"([A-Za-z_-]+~?):")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SINGLE_QUOTED = re.compile(r"'((?:[^']|'')*)'", re.DOTALL)


class Mark(Enum):
    """Everything in a selector that is no condition."""

    AND = "and"
    OR = "or"
    NOT = "not"
    OPEN = "("
    CLOSE = ")"
    END = "the end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the text."""

    item: Condition | Mark
    at: int
    """Where it begins, in characters from 0."""


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the pieces of a selector, and :attr:`Mark.END` last.

    :raises SelectorError: a piece is neither a condition nor a word of the language, or a condition's value is wrong.
    """
    at = 0
    while (at := _after_blanks(text, at)) < len(text):
        if text[at] in "()":
            yield Token(item=Mark(text[at]), at=at)
            at += 1
        elif (kind := _KIND.match(text, at)) is not None:
            condition, end = _condition(text, at, kind)
            yield Token(item=condition, at=at)
            at = end
        else:
            word = _word(text, at)
            yield Token(item=word, at=at)
            at += len(word.value)
    yield Token(item=Mark.END, at=len(text))


def _after_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _word(text: str, at: int) -> Mark:
    found = _WORD.match(text, at)
    assert found is not None
    word = found[0]
    if word.lower() in ("and", "or", "not"):
        return Mark(word.lower())
    if word.lower() in VALUELESS:
        raise SelectorError(f"expected '{word.lower()}:', with a colon", text=text, at=at)
    hint = f"; a VM's name stands behind 'name:'; a value with blanks stands in quotes, {Kind.NAME}:\"my vm\""
    raise SelectorError(
        f"expected a condition such as name:web01, 'and', 'or', 'not' or a bracket{hint}", text=text, at=at
    )


def _condition(text: str, at: int, found: re.Match[str]) -> tuple[Condition, int]:
    word, start = found[1].lower(), found.end()
    if word not in tuple(Kind):
        raise SelectorError(_unknown(word), text=text, at=at)
    kind = Kind(word)
    value, end = _value(text, start)
    if kind in VALUELESS:
        if end > start:
            raise SelectorError(f"'{kind}:' takes no value: expected a blank behind it", text=text, at=start)
        return Condition(kind), end
    if end == start:
        raise SelectorError(f"expected a value right behind '{kind}:'", text=text, at=start)
    check_value(kind, value, text=text, at=start)
    return Condition(kind, value), end


def _unknown(word: str) -> str:
    if word.endswith("~"):
        return "only 'name~:' takes a regular expression; other kinds take * and ? for any characters"
    begun = [kind for kind in Kind if kind.startswith(word)]
    near = begun if len(begun) == 1 else difflib.get_close_matches(word, tuple(Kind), n=1, cutoff=0.7)
    hint = f"did you mean '{near[0]}:'?" if near else f"expected one of {', '.join(f'{kind}:' for kind in Kind)}"
    return f"there is no '{word}:'; {hint}"


def _value(text: str, start: int) -> tuple[str, int]:
    quote = text[start : start + 1]
    if quote not in ('"', "'") or not quote:
        return _bare(text, start)
    found = (_DOUBLE_QUOTED if quote == '"' else _SINGLE_QUOTED).match(text, start)
    if found is None:
        raise SelectorError(f"expected a closing {quote} for the one that opens here", text=text, at=start)
    end = found.end()
    if end < len(text) and not text[end].isspace() and text[end] != ")":
        raise SelectorError(
            "expected a blank, a closing bracket or the end behind the closing quote", text=text, at=end
        )
    return (_unescaped(text, start, found[0]) if quote == '"' else found[1].replace("''", "'")), end


def _unescaped(text: str, start: int, quoted: str) -> str:
    try:
        value = json.loads(quoted, strict=False)
        value.encode()
    except json.JSONDecodeError as error:
        why = r"""expected one of \" \\ \/ \b \f \n \r \t \uXXXX; in single quotes a backslash is itself"""
        raise SelectorError(why, text=text, at=start + error.pos) from None
    except UnicodeEncodeError:
        raise SelectorError(r"expected both halves of a surrogate pair (\uD83D\uDE00)", text=text, at=start) from None
    assert isinstance(value, str)
    return value


def _bare(text: str, start: int) -> tuple[str, int]:
    """Return a value without quotes: it ends at a blank, or at a bracket that it has not opened itself."""
    opened: list[int] = []
    end = start
    while end < len(text) and not text[end].isspace():
        if text[end] == "(":
            opened.append(end)
        elif text[end] == ")":
            if not opened:
                break
            opened.pop()
        end += 1
    if opened:
        raise SelectorError(
            "expected a closing bracket for the one that opens here; a value with blanks or single brackets stands "
            "in quotes",
            text=text,
            at=opened[0],
        )
    return text[start:end], end
