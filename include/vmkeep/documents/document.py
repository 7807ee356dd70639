"""Reads YAML as a person means it, and remembers the place of each value.

YAML has surprises. In a file that decides about backups and restores, each of them is a fault or does not happen.
``no``, ``on`` and ``22:00`` are texts; only ``true``, ``false``, ``null`` and decimal numbers are anything else. A key
that stands twice, an anchor, an alias and a tag are refused, and so no short file can grow into a large value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, TypeAlias

import yaml

from vmkeep.documents.faults import Fault, Place
from vmkeep.lateclass import dataclass

Path: TypeAlias = tuple[str | int, ...]
"""The way to a value: keys, and numbers of list items from 0."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 12
_BLANK = " \n"
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}")
_UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The place of a text in the file, so that a fault inside it can be pointed at."""

    value: str
    style: str
    """The character that it begins with, if it has a style of its own: a quote, ``|`` or ``>``."""
    start: int
    end: int
    """In characters of the file."""


@dataclass(slots=True, kw_only=True)
class Document:
    """A YAML document as plain data, with the place of each key and value."""

    source: str
    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    texts: dict[Path, Text] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path) -> Place:
        """Return the place of a value; if it is missing, the place of the value around it."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place())

    def place_of_key(self, path: Path) -> Place:
        """Return the place of a value's key; if it is missing, the place of the value around it."""
        while path and path not in self.keys and path not in self.values:
            path = path[:-1]
        return self.keys.get(path) or (self.values[path] if path else Place())

    def place_within(self, path: Path, at: int) -> Place:
        """Return the place of a character of a text; if it is not known, the place of the text."""
        text = self.texts.get(path)
        index = None if text is None else _index_within(self.source, text, at)
        if index is None:
            return self.place(path)
        line_start = self.source.rfind("\n", 0, index) + 1
        return Place(line=self.source.count("\n", 0, index) + 1, column=index - line_start + 1)


def read_document(source: str, *, any_names: bool = False) -> Document:
    """Read one document. The result has its faults, and all values that could be read in spite of them.

    :param any_names: texts may hold characters that nobody can read, written as escapes, because they name things of
        another system.
    """
    document = Document(source=source)
    if (found := _UNPRINTABLE.search(source)) is not None:
        line_start = source.rfind("\n", 0, found.start()) + 1
        place = Place(line=source.count("\n", 0, found.start()) + 1, column=found.start() - line_start + 1)
        document.faults.append(Fault(place=place, message=f"the character U+{ord(found[0]):04X} does not belong here"))
        return document
    try:
        _Reader(document, any_names=any_names).read(yaml.parse(source, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        document.faults.append(Fault(place=_place(error.problem_mark or error.context_mark), message=_syntax(error)))
    except yaml.YAMLError as error:
        document.faults.append(Fault(place=Place(), message=f"this is not YAML: {error}"))
    except _TooDeepError as error:
        document.faults.append(Fault(place=error.place, message=f"more than {_DEEPEST} values in one another"))
    return document


class _TooDeepError(Exception):
    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place


class _Reader:
    """Makes plain data of YAML's events."""

    def __init__(self, document: Document, *, any_names: bool) -> None:
        self._document = document
        self._any_names = any_names
        self._events: Iterator[Any] = iter(())

    def read(self, events: Iterator[Any]) -> None:
        """Read the first document, and refuse a second one."""
        self._events, documents = events, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._refuse(event, "a second document begins here: put it into a file of its own")
                    return
                self._document.data = self._value(next(events), ())

    def _value(self, event: Any, path: Path) -> Any:
        if len(path) > _DEEPEST:
            raise _TooDeepError(_place(event.start_mark))
        self._document.values[path] = _place(event.start_mark)
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, "an alias (*) is not allowed: write the value itself, or put a text into quotes")
            return None
        self._refuse_extras(event)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(event, path)

    def _refuse_extras(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "an anchor (&) is not allowed: write the value itself, or put a text into quotes")
        if event.tag is not None:
            self._refuse(event, "a tag (!) is not allowed: leave it out, or put the text into quotes")

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, "a key has to be a word")
                self._value(event, (*path, ""))
                self._value(next(self._events), (*path, ""))
                continue
            self._refuse_extras(event)
            key, inner = event.value, (*path, event.value)
            if key in found:
                first = self._document.keys[inner].line
                self._refuse(event, f"'{key}' stands twice, first in line {first}: leave one of them out")
                _Reader._skip(self, next(self._events))
                continue
            self._document.keys[inner] = _place(event.start_mark)
            found[key] = self._value(next(self._events), inner)
        return found

    def _skip(self, event: Any) -> None:
        """Read a value for its faults, and drop it."""
        aside = _Reader(Document(source=self._document.source, faults=self._document.faults), any_names=self._any_names)
        aside._events = self._events
        aside._value(event, ())

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._value(event, (*path, len(found))))
        return found

    def _scalar(self, event: Any, path: Path) -> Any:
        if not event.style:
            value = _plain(event.value)
            if not isinstance(value, str):
                return value
        if not self._any_names and _UNPRINTABLE.search(event.value):
            self._refuse(event, "this text holds a character that nobody could read")
        self._document.texts[path] = Text(
            value=event.value, style=event.style or "", start=event.start_mark.index, end=event.end_mark.index
        )
        return event.value

    def _refuse(self, event: Any, message: str) -> None:
        self._document.faults.append(Fault(place=_place(event.start_mark), message=message))


def _plain(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _place(mark: Any) -> Place:
    return Place() if mark is None else Place(line=mark.line + 1, column=mark.column + 1)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    """Word an error of the YAML, with the most common remedy."""
    said = ", ".join(part for part in (error.context, error.problem) if part)
    return f"this is not YAML: {said}; indent with blanks, and quote a text that has a colon or a special character"


def _index_within(source: str, text: Text, at: int) -> int | None:
    """Return the index in the file of a character of a text, across folded lines and doubled quotes."""
    index = text.start
    if text.style in ("|", ">"):
        index = source.find("\n", index) + 1
        index += len(source[index:]) - len(source[index:].lstrip(_BLANK))
    elif text.style:
        index += 1
    for position, character in enumerate(text.value):
        if position == at or index >= text.end:
            break
        if character in _BLANK:
            blanks = len(source[index:]) - len(source[index:].lstrip(_BLANK))
            index += blanks if "\n" in source[index : index + blanks] else min(blanks, 1)
        elif source[index] != character:
            return None  # an escape sequence
        else:
            index += 2 if text.style == "'" and source[index : index + 2] == "''" else 1
    return index
