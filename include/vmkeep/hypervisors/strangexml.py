"""Parses XML from strangers: no document type, so no entity and nothing from outside; no great size, no great depth."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from vmkeep.errors import UsageError

LARGEST = 4 << 20
"""Largest text that is parsed, in bytes."""
_DEEPEST = 64
_MOST_ELEMENTS = 100_000


class _Building:
    """Builds the tree, and stops at what no description of a machine needs."""

    def __init__(self, name: str, text: bytes) -> None:
        self._name = name
        self._tree = TreeBuilder()
        self._depth = self._count = 0
        parser = self._parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse_doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._tree.data
        parser.Parse(text, True)

    def root(self) -> Element:
        return self._tree.close()

    def _refuse_doctype(self, *_: object) -> None:
        raise UsageError(f"{self._name}: has a document type, which may name other files: remove it")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth, self._count = self._depth + 1, self._count + 1
        if self._depth > _DEEPEST or self._count > _MOST_ELEMENTS:
            line = self._parser.CurrentLineNumber
            raise UsageError(f"{self._name}, line {line}: has more elements than any machine needs")
        self._tree.start(_local(tag), {_local(name): value for name, value in attributes.items()})

    def _end(self, tag: str) -> None:
        self._depth -= 1
        self._tree.end(_local(tag))


def parse_strange_xml(name: str, text: bytes) -> Element:
    """Parse a text. Tags and attributes lose their name spaces.

    :param name: names the text in errors.
    :raises UsageError: it is too large, not well-formed, or has a document type. The message names the line.
    """
    if len(text) > LARGEST:
        raise UsageError(f"{name}: has {len(text)} bytes; {LARGEST} is the limit")
    try:
        return _Building(name, text).root()
    except expat.ExpatError as error:
        raise UsageError(
            f"{name}, line {error.lineno}: is no well-formed XML: {expat.ErrorString(error.code)}"
        ) from None
    except (LookupError, ValueError) as error:
        raise UsageError(f"{name}: is no XML in an encoding that is known: {error}") from None


def text_of(parent: Element | None, tag: str, usual: str = "") -> str:
    """Return the text of the first child of that tag, without spaces at its ends."""
    found = parent.find(tag) if parent is not None else None
    return (found.text or "").strip() if found is not None else usual


def children(parent: Element | None, *tags: str) -> Iterator[Element]:
    """Yield the children that have one of some tags, in order."""
    return (child for child in (parent if parent is not None else ()) if child.tag in tags)


def _local(name: str) -> str:
    return name.rpartition(" ")[2]
