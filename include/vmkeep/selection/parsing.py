"""Parses a selector: ``not`` binds closer than ``and``, and ``and`` closer than ``or``; brackets come before all."""

from __future__ import annotations

from vmkeep.errors import SelectorError
from vmkeep.selection.terms import And, Condition, Not, Or, Selector
from vmkeep.selection.tokens import Mark, Token, tokens_of

DEEPEST = 50
"""Brackets and ``not`` that can stand in one another."""


def parse_selector(text: str) -> Selector:
    """Return the tree of a selector.

    :raises SelectorError: the text is no selector; the error says where, and what is expected there.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SelectorError("this is no text (its bytes are not UTF-8)", text=text, at=error.start) from None
    return _Parser(text).parse()


class _Parser:
    """Recursive descent, one method for each level of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._depth = 0
        self._next: Token = next(self._tokens)

    def parse(self) -> Selector:
        """Return the tree of the whole text."""
        found = self._either()
        if self._next.item is not Mark.END:
            raise self._expected("'and', 'or' or the end")
        return found

    def _either(self) -> Selector:
        parts = [self._both()]
        while self._took(Mark.OR):
            parts.append(self._both())
        return Or(tuple(parts)) if len(parts) > 1 else parts[0]

    def _both(self) -> Selector:
        parts = [self._one()]
        while self._took(Mark.AND):
            parts.append(self._one())
        return And(tuple(parts)) if len(parts) > 1 else parts[0]

    def _one(self) -> Selector:
        token = self._next
        if isinstance(token.item, Condition):
            self._advance()
            return token.item
        if token.item not in (Mark.NOT, Mark.OPEN):
            raise self._expected("a condition such as name:web01, 'not' or an opening bracket")
        if self._depth == DEEPEST:
            raise self._expected(f"at most {DEEPEST} levels of brackets and 'not'")
        self._depth += 1
        self._advance()
        found = Not(self._one()) if token.item is Mark.NOT else self._bracketed(token.at)
        self._depth -= 1
        return found

    def _bracketed(self, at: int) -> Selector:
        found = self._either()
        if self._next.item is Mark.END:
            raise SelectorError("expected a closing bracket for the one that opens here", text=self._text, at=at)
        if not self._took(Mark.CLOSE):
            raise self._expected("'and', 'or' or a closing bracket")
        return found

    def _took(self, mark: Mark) -> bool:
        if self._next.item is not mark:
            return False
        self._advance()
        return True

    def _advance(self) -> None:
        self._next = next(self._tokens)

    def _expected(self, what: str) -> SelectorError:
        return SelectorError(f"expected {what}", text=self._text, at=self._next.at)
