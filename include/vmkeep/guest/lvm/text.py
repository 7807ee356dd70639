"""Parses the text format of LVM2, in which the metadata of a volume group is written (``lvm.conf(5)``, "SYNTAX").

A section is ``name { … }``, a setting ``name = value``. A value is a whole number, a number with a point, a string in
quotes, or a list of these in brackets. A comment goes from ``#`` to the end of its line; other line ends mean nothing.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from vmkeep.guest.disks import Contradiction

Value: TypeAlias = "int | float | str | tuple[int | float | str, ...]"

_DEEPEST: Final = 16
"""Sections within sections; the metadata of a volume group has four."""
_MOST: Final = 400_000
"""Settings, sections and items of lists in a text."""
_LONGEST_NUMBER: Final = 40
_TOKEN: Final = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f\v]+|\#[^\n]*)++)"""
    r"""|"(?P<text>(?:[^"\\]|\\.)*+)\""""
    r"""|'(?P<plain>[^']*)'"""
    r"""|(?P<mark>[{}\[\]=,])"""
    r"""|(?P<number>[-+]?[0-9]+(?:\.[0-9]*)?(?![\w.+/-]))"""
    r"""|(?P<name>[^\s{}\[\]=,"'\#]+)""",
    re.DOTALL,
)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_KINDS: Final = {"text": "a string", "plain": "a string", "number": "a number", "name": "a name", "": "the end"}


class Section:
    """A section: its settings and the sections in it, each by name."""

    __slots__ = ("line", "sections", "settings")

    def __init__(self, line: int) -> None:
        """Begin an empty section.

        :param line: the number of the line on which it begins, from 1.
        """
        self.line = line
        self.settings: dict[str, Value] = {}
        self.sections: dict[str, Section] = {}

    def number(self, name: str, usual: int | None = None) -> int:
        """Return a setting that is a whole number from 0 up.

        :param usual: the number if there is no such setting.
        :raises Contradiction: it is none, or it is missing.
        """
        value = self.settings.get(name, usual)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise Contradiction(self._wrong(name, "a whole number"))
        return value

    def text(self, name: str, usual: str | None = None) -> str:
        """Return a setting that is a string; else like :meth:`number`."""
        value = self.settings.get(name, usual)
        if not isinstance(value, str):
            raise Contradiction(self._wrong(name, "a string"))
        return value

    def items(self, name: str) -> tuple[int | float | str, ...]:
        """Return a setting that is a list, or one value that stands for a list; without it, an empty list."""
        value = self.settings.get(name, ())
        return value if isinstance(value, tuple) else (value,)

    def words(self, name: str) -> tuple[str, ...]:
        """Return a setting that is a list of strings; else like :meth:`items`."""
        found = self.items(name)
        if not all(isinstance(each, str) for each in found):
            raise Contradiction(self._wrong(name, "a list of strings"))
        return tuple(str(each) for each in found)

    def part(self, name: str) -> Section:
        """Return a section within this one; without it, an empty one."""
        return self.sections.get(name) or Section(self.line)

    def _wrong(self, name: str, kind: str) -> str:
        has = "is missing" if name not in self.settings else f"is not {kind}"
        return f"line {self.line}: {name} of the section that begins there {has}"


class _Parser:
    """One parse of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._left = _MOST
        self._line, self._counted = 1, 0
        self.kind = self.value = ""
        self.start = 0
        self.advance()

    def advance(self) -> None:
        """Go on to the next token."""
        while True:
            self.start = self._at
            if self._at == len(self._text):
                self.kind = self.value = ""
                return
            found = _TOKEN.match(self._text, self._at)
            if found is None:
                raise self.wrong("a string has no end")
            self._at = found.end()
            self.kind = found.lastgroup or ""
            self.value = found[self.kind]
            if self.kind == "text" and "\\" in self.value:
                self.value = _ESCAPED.sub(r"\1", self.value)
            if self.kind != "space":
                return

    def wrong(self, why: str) -> Contradiction:
        """Return an error that names offset and line."""
        offset = len(self._text[: self.start].encode("utf-8", "surrogateescape"))
        line = self._text.count("\n", 0, self.start) + 1
        return Contradiction(f"line {line} of the metadata text, its byte {offset}: {why}")

    def body(self, section: Section, depth: int) -> None:
        """Parse settings and sections, up to the end of a section or of the text."""
        while self.kind and (self.kind, self.value) != ("mark", "}"):
            if self.kind not in ("name", "text", "plain", "number"):
                raise self.wrong(f"{self._seen()} stands where a name should begin a setting or a section")
            name, start, line = self.value, self.start, self._count()
            self.advance()
            if (self.kind, self.value) == ("mark", "="):
                self.advance()
                is_new = name not in section.settings
                section.settings[name] = self.whole_value()
            elif (self.kind, self.value) == ("mark", "{"):
                is_new = name not in section.sections
                section.sections[name] = inner = Section(line)
                self.braces(inner, depth + 1)
            else:
                raise self.wrong(f"neither '=' nor '{{' follows the name {name[:40]!r}")
            if not is_new:
                self.start = start
                raise self.wrong(f"{name[:40]!r} stands there for the second time")

    def braces(self, inner: Section, depth: int) -> None:
        """Parse a section from its opening brace to its closing one."""
        if depth > _DEEPEST:
            raise self.wrong(f"more than {_DEEPEST} sections lie in one another")
        self.advance()
        self.body(inner, depth)
        self.expect("}")

    def whole_value(self) -> Value:
        """Parse a value or a list."""
        if (self.kind, self.value) != ("mark", "["):
            return self.single()
        self.advance()
        found: list[int | float | str] = []
        while (self.kind, self.value) != ("mark", "]"):
            found.append(self.single())
            if (self.kind, self.value) == ("mark", ","):
                self.advance()
            elif (self.kind, self.value) != ("mark", "]"):
                raise self.wrong(f"{self._seen()} stands in a list where ',' or ']' should")
        self.advance()
        return tuple(found)

    def single(self) -> int | float | str:
        """Parse a number or a string."""
        kind, value = self.kind, self.value
        if kind not in ("number", "text", "plain"):
            raise self.wrong(f"{self._seen()} stands where a value should")
        if kind == "number" and len(value) > _LONGEST_NUMBER:
            raise self.wrong(f"a number has {len(value)} digits")
        self._count()
        self.advance()
        if kind != "number":
            return value
        return float(value) if "." in value else int(value)

    def expect(self, mark: str) -> None:
        """Go past a mark."""
        if (self.kind, self.value) != ("mark", mark):
            raise self.wrong(f"{self._seen()} stands where '{mark}' should")
        self.advance()

    def _seen(self) -> str:
        return f"'{self.value}'" if self.kind == "mark" else _KINDS[self.kind]

    def _count(self) -> int:
        """Count a thing, and return the number of its line."""
        self._left -= 1
        if self._left < 0:
            raise self.wrong(f"the text has more than {_MOST} settings")
        self._line += self._text.count("\n", self._counted, self.start)
        self._counted = self.start
        return self._line


def parse_text(data: bytes) -> Section:
    """Parse a whole text. Zero bytes at its end are left out.

    :raises Contradiction: it is no text of that format. The message names line and byte.
    """
    parser = _Parser(data.rstrip(b"\0").decode("utf-8", "surrogateescape"))
    whole = Section(1)
    parser.body(whole, 0)
    if parser.kind:
        raise parser.wrong("'}' closes a section that never began")
    return whole
