"""Takes the data of handshake options apart. Every byte of them comes from a stranger."""

from __future__ import annotations

from struct import Struct
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.nbd.wire import MAX_STRING

_U16: Final = Struct(">H")
_U32: Final = Struct(">I")


class BadOptionError(Exception):
    """The data of an option are not what the option asks for."""


class LongTextError(BadOptionError):
    """A text in an option's data is longer than the protocol allows."""


@dataclass(frozen=True, slots=True)
class ExportQuestion:
    """The data of ``INFO`` and ``GO``."""

    name: str
    infos: frozenset[int]
    """Numbers of the parts that the client would like to have in the answer."""


@dataclass(frozen=True, slots=True)
class ContextQuestion:
    """The data of ``LIST_META_CONTEXT`` and ``SET_META_CONTEXT``."""

    name: str
    queries: tuple[str, ...]


class _Reader:
    """Takes numbers and texts from the front of some bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, layout: Struct) -> int:
        value: int = layout.unpack(self._take(layout.size))[0]
        return value

    def text(self) -> str:
        length = self.number(_U32)
        if length > MAX_STRING:
            raise LongTextError(f"a text of {length} bytes is longer than {MAX_STRING}")
        return as_text(self._take(length))

    def left(self) -> int:
        return len(self._data) - self._at

    def end(self) -> None:
        if self.left():
            raise BadOptionError(f"{self.left()} bytes too many")

    def _take(self, length: int) -> bytes:
        if length > self.left():
            raise BadOptionError("the data are cut off")
        self._at += length
        return self._data[self._at - length : self._at]


def as_text(data: bytes) -> str:
    """Return the text that some bytes stand for.

    :raises BadOptionError: they are no UTF-8, or hold a NUL.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BadOptionError("a text is no UTF-8") from error
    if "\0" in text:
        raise BadOptionError("a text holds a NUL")
    return text


def parse_export_question(data: bytes) -> ExportQuestion:
    """Take the data of ``INFO`` or ``GO`` apart.

    :raises BadOptionError: they are malformed.
    """
    reader = _Reader(data)
    name = reader.text()
    infos = frozenset(reader.number(_U16) for _ in range(reader.number(_U16)))
    reader.end()
    return ExportQuestion(name, infos)


def parse_context_question(data: bytes) -> ContextQuestion:
    """Take the data of ``LIST_META_CONTEXT`` or ``SET_META_CONTEXT`` apart.

    :raises BadOptionError: they are malformed.
    """
    reader = _Reader(data)
    name = reader.text()
    count = reader.number(_U32)
    if count * _U32.size > reader.left():  # each query has a length, so that a false count makes no long loop
        raise BadOptionError("the data are cut off")
    queries = tuple(reader.text() for _ in range(count))
    reader.end()
    return ContextQuestion(name, queries)
