"""Packs entries of a file system into the parts of an index, and searches a part.

A part is a zstd frame over a line of JSON ``{"volume": …, "entries": n, "paths": bytes}``, the paths (each between two
zero bytes), a letter for the kind of each entry, its size, and the time of its last change in nanoseconds since 1970.
Sizes and times are signed numbers of eight bytes, the lowest byte first. All come in the order of the paths.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import zstandard

from vmkeep.errors import CorruptError
from vmkeep.fileindex.patterns import Pattern, path_bytes
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind

_MOST_ENTRIES: Final = 1 << 16
_MOST_BYTES: Final = 8 << 20
"""A part ends with the entry that passes either of these; the second counts bytes of paths."""
_LARGEST: Final = 32 << 20
"""Bytes of a part when it is unpacked. A longer one was not made by this program."""
_LEVEL: Final = 6
_NO_TIME: Final = -(1 << 63)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LETTERS: Final = {
    FileKind.FILE: b"f", FileKind.FOLDER: b"d", FileKind.SYMLINK: b"l", FileKind.DEVICE: b"v", FileKind.PIPE: b"p",
    FileKind.SOCKET: b"s", FileKind.OTHER: b"o",
}  # fmt: skip
_KINDS: Final = {letter[0]: kind for kind, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedFile:
    """An entry of an index."""

    volume: str
    path: str
    kind: FileKind
    size: int
    modified: datetime | None


def pack(volume: str, entries: Iterable[FileEntry]) -> Iterator[tuple[bytes, int]]:
    """Yield the parts of one volume's index, each with the number of its entries. Keep one part in memory."""
    paths, kinds, sizes, times = bytearray(b"\0"), bytearray(), array("q"), array("q")
    for entry in entries:
        paths += path_bytes(entry.path)
        paths += b"\0"
        kinds += _LETTERS[entry.kind]
        sizes.append(min(entry.size, (1 << 63) - 1))
        times.append(_number(entry.modified))
        if len(kinds) >= _MOST_ENTRIES or len(paths) >= _MOST_BYTES:
            yield _part(volume, paths, kinds, sizes, times), len(kinds)
            paths, kinds, sizes, times = bytearray(b"\0"), bytearray(), array("q"), array("q")
    if kinds:
        yield _part(volume, paths, kinds, sizes, times), len(kinds)


def search(part: bytes, pattern: Pattern | None = None) -> Iterator[IndexedFile]:
    """Yield the entries of a part that fit a pattern; ``None``: all of them.

    :raises CorruptError: the bytes are no part of an index.
    """
    volume, paths, kinds, sizes, times = _unpack(part)
    number, at = 0, 0
    for place in _all_places(paths) if pattern is None else pattern.places(paths):
        number += paths.count(b"\0", at, place + 1)
        at = place + 1
        start = paths.rfind(b"\0", 0, at) + 1
        entry = number - 1
        yield IndexedFile(
            volume=volume,
            path=paths[start:at].decode("utf-8", "surrogateescape"),
            kind=_KINDS.get(kinds[entry], FileKind.OTHER),
            size=sizes[entry],
            modified=_moment(times[entry]),
        )


def _all_places(paths: bytes) -> Iterator[int]:
    at = paths.find(b"\0", 1)
    while at >= 0:
        yield at - 1
        at = paths.find(b"\0", at + 1)


def _part(volume: str, paths: bytearray, kinds: bytearray, sizes: array[int], times: array[int]) -> bytes:
    head = json.dumps({"volume": volume, "entries": len(kinds), "paths": len(paths)}).encode()
    return zstandard.ZstdCompressor(level=_LEVEL).compress(
        b"\n".join((head, b"")) + paths + kinds + _lowest_first(sizes) + _lowest_first(times)
    )


def _unpack(part: bytes) -> tuple[str, bytes, bytes, array[int], array[int]]:
    try:
        length = zstandard.get_frame_parameters(part).content_size
        if length > _LARGEST:
            raise CorruptError(f"a part of the index claims {length} bytes")
        data = zstandard.ZstdDecompressor().decompress(part, max_output_size=_LARGEST)
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        volume, entries, size = str(head["volume"]), int(head["entries"]), int(head["paths"])
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"no part of an index of files: {error}") from error
    if entries < 0 or size < 0 or len(rest) != size + 17 * entries or rest[:size].count(b"\0") != entries + 1:
        raise CorruptError("a part of the index does not have the size that it tells")
    paths, kinds = rest[:size], rest[size : size + entries]
    numbers = rest[size + entries :]
    return volume, paths, kinds, _numbers(numbers[: 8 * entries]), _numbers(numbers[8 * entries :])


def _lowest_first(numbers: array[int]) -> bytes:
    if sys.byteorder == "big":
        numbers = array("q", numbers)
        numbers.byteswap()
    return numbers.tobytes()


def _numbers(data: bytes) -> array[int]:
    numbers = array("q", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _number(moment: datetime | None) -> int:
    if moment is None:
        return _NO_TIME
    passed = moment - _EPOCH
    number = (passed.days * 86400 + passed.seconds) * 1_000_000_000 + passed.microseconds * 1000
    return number if _NO_TIME < number < 1 << 63 else _NO_TIME


def _moment(number: int) -> datetime | None:
    return None if number == _NO_TIME else _EPOCH + timedelta(microseconds=number // 1000)
