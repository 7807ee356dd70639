"""Reads the descriptor of a VMDK from a stranger: a text that names the extents, and the parent of a child disk."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vmkeep.errors import UnsupportedError, UsageError
from vmkeep.formats.vmdk.header import SECTOR
from vmkeep.lateclass import dataclass

LARGEST_DESCRIPTOR = 2 << 20
_LARGEST_DISK = 1 << 60
_MOST_EXTENTS = 1 << 16
_FIRST_LINE = re.compile(rb"(?:\xef\xbb\xbf)?\s*#\s*disk descriptorfile\b", re.IGNORECASE)
_ENCODING = re.compile(rb'^[ \t]*encoding[ \t]*=[ \t]*"?([\w-]+)', re.IGNORECASE | re.MULTILINE)
_ENCODINGS = re.compile(
    r"utf-?8|us-ascii|windows-\d+|cp\d+|iso-8859-\d+|gbk|gb2312|gb18030|big5|shift_jis|euc-(jp|kr)", re.IGNORECASE
)
_KEY = re.compile(r"[\w.]+")
_LEFT = re.compile(rb"[^\0]+")
_LONGEST_LINE = 4096
_MOST_LINES = 1 << 17
_EXTENT = re.compile(r'\s*(\w+)\s+(\d{1,19})\s+(\w+)(?:\s+"([^"]+)")?(?:\s+(\d{1,19}))?\s*')
_ACCESSES = ("rw ", "rdonly ", "noaccess ", "rw\t", "rdonly\t", "noaccess\t")


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedExtent:
    """A line of the descriptor that names an extent."""

    length: int
    """Bytes of the disk in it."""
    kind: str
    """In upper case, e.g. ``FLAT``, ``SPARSE``, ``VMFS`` or ``SESPARSE``."""
    file: str
    """Name of its file; empty: it has none."""
    offset: int
    """Where its bytes begin in the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A descriptor as far as a reader needs it."""

    create_type: str
    content_id: int
    parent_id: int | None
    """The content id that the parent must have; ``None``: the disk has no parent."""
    parent: str
    """Name of the parent's descriptor; empty: the disk has none."""
    extents: tuple[DescribedExtent, ...]


def is_descriptor(head: bytes) -> bool:
    """Return whether a file that begins like this is a descriptor."""
    return _FIRST_LINE.match(head) is not None


def parse_descriptor(data: bytes, name: str) -> Descriptor:
    """Parse a descriptor's text.

    :param name: names the file in errors.
    :raises UsageError: it is damaged. The message names the line.
    """
    settings: dict[str, str] = {}
    extents: list[DescribedExtent] = []
    for number, line in _lines(data, name):
        key, _, value = (part.strip() for part in line.partition("="))
        if line.lower().startswith(_ACCESSES):
            extents.append(_extent(line, _line(name, number)))
        elif _KEY.fullmatch(key) and settings.setdefault(key.lower(), _unquoted(value)) != _unquoted(value):
            raise UsageError(f"{_line(name, number)}: {key} has another value than in a line before")
    if len(extents) > _MOST_EXTENTS:
        raise UsageError(f"{name}: the descriptor names {len(extents)} extents, and none has more than {_MOST_EXTENTS}")
    if sum(extent.length for extent in extents) > _LARGEST_DISK:
        raise UsageError(f"{name}: the extents of the descriptor are larger than any disk")
    parent_id = _content_id(settings, "parentcid", name)
    has_parent = parent_id not in (None, 0xFFFFFFFF)
    hint = settings.get("parentfilenamehint", "")
    if has_parent and not hint:
        raise UsageError(f"{name}: is the child of another disk (parentCID {parent_id:08x}), and does not name it")
    return Descriptor(
        create_type=settings.get("createtype", ""),
        content_id=_content_id(settings, "cid", name) or 0,
        parent_id=parent_id if has_parent else None,
        parent=hint if has_parent else "",
        extents=tuple(extents),
    )


def _line(name: str, number: int) -> str:
    return f"{name}: line {number} of the descriptor"


def _lines(data: bytes, name: str) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that say something, whichever system's line ends the text has."""
    lines = _decoded(data, name).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if len(lines) > _MOST_LINES:
        raise UsageError(f"{name}: the descriptor has {len(lines)} lines, and none has more than {_MOST_LINES}")
    for number, line in enumerate(lines, start=1):
        if len(line) > _LONGEST_LINE:
            raise UsageError(f"{_line(name, number)} has {len(line)} characters")
        if line.strip():
            yield number, line.strip()


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _decoded(data: bytes, name: str) -> str:
    text, _, rest = data.removeprefix(b"\xef\xbb\xbf").partition(b"\0")
    # QEMU writes the CID anew without zeros at its front. So the text becomes shorter, and some of its last characters
    # stay behind the zero byte that ends it.
    if not all(text.endswith(left) for left in _LEFT.findall(rest)):
        raise UsageError(f"{name}: the descriptor holds a zero byte at {len(text)}, so it is no text")
    found = _ENCODING.search(text)
    encoding = found[1].decode() if found else "utf-8"
    if not _ENCODINGS.fullmatch(encoding):
        encoding = "ascii"
    try:
        return text.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        shown = found[1].decode() if found else "UTF-8"
        raise UsageError(f"{name}: the descriptor is no text in its encoding {shown}: {error}") from error


def _extent(line: str, where: str) -> DescribedExtent:
    found = _EXTENT.fullmatch(line)
    if found is None:
        raise UsageError(f"{where} names no extent that is understood: {line.strip()[:100]!r}")
    access, sectors, kind, file, offset = found.groups()
    if access.lower() == "noaccess":
        raise UnsupportedError(f"{where}: the extent is marked as one that nobody may read (NOACCESS)")
    if not int(sectors):
        raise UsageError(f"{where}: the extent has no sectors")
    if kind.upper() != "ZERO" and not file:
        raise UsageError(f"{where}: the extent names no file")
    return DescribedExtent(
        length=int(sectors) * SECTOR, kind=kind.upper(), file=file or "", offset=int(offset or 0) * SECTOR
    )


def _content_id(settings: dict[str, str], key: str, name: str) -> int | None:
    value = settings.get(key)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}", value):
        raise UsageError(f"{name}: {key} of the descriptor is no number of 32 bits: {value[:40]!r}")
    return int(value, 16)
