"""Reads the content of a guest's file piece by piece, and leaves its holes out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, GuestFileSystem

PIECE: Final = 1 << 20
"""Bytes that are read at once, at a multiple of this."""
_GRANULE: Final = 4096
"""Extents grow to multiples of this, so that many small ones become few."""

OnBytes = Callable[[int], None]
"""Takes the number of bytes that were read since the last call. It may raise an error to stop the reading."""


def extents_of(files: GuestFileSystem, entry: FileEntry) -> Iterator[Extent]:
    """Yield the extents of a file that may hold data, sorted, joined, grown to whole granules, and within the file.

    :raises CorruptError: the file system names an extent before the one ahead of it.
    """
    held: tuple[int, int] | None = None
    last = 0
    for extent in files.data_extents(entry.path):
        if extent.start < last:
            raise CorruptError(f"its extents are out of order at byte {extent.start}")
        last = extent.start
        start = extent.start // _GRANULE * _GRANULE
        stop = min(entry.size, -(-extent.stop // _GRANULE) * _GRANULE)
        if start >= stop:
            continue
        if held is not None and start <= held[1]:
            held = (held[0], max(held[1], stop))
            continue
        if held is not None:
            yield Extent(*held)
        held = (start, stop)
    if held is not None:
        yield Extent(*held)


def pieces(content: io.RawIOBase, extents: Iterator[Extent], on_bytes: OnBytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the bytes of extents in pieces that do not cross a multiple of :data:`PIECE`, each with its offset.

    A piece is valid until the next one is asked for.

    :raises CorruptError: the content ends before its extents do.
    """
    buffer = memoryview(b"")
    for extent in extents:
        if len(buffer) < min(PIECE, extent.length):
            buffer = memoryview(bytearray(min(PIECE, extent.length)))
        at = extent.start
        content.seek(at)
        while at < extent.stop:
            piece = buffer[: min(extent.stop, (at // PIECE + 1) * PIECE) - at]
            _fill(content, piece, at)
            yield at, piece
            on_bytes(len(piece))
            at += len(piece)


def _fill(content: io.RawIOBase, piece: memoryview, at: int) -> None:
    done = 0
    while done < len(piece):
        count = content.readinto(piece[done:])
        if not count:
            raise CorruptError(f"its content ends at byte {at + done}, before its size says so")
        done += count


def whole(files: GuestFileSystem, entry: FileEntry, on_bytes: OnBytes = lambda _count: None) -> Iterator[memoryview]:
    """Yield all bytes of a file in order, those of its holes as zeros. A piece is valid until the next is asked for.

    :raises CorruptError: it cannot be read.
    """
    at = 0
    with files.open(entry.path) as content:
        for start, piece in pieces(content, extents_of(files, entry), on_bytes):
            yield from _zeros(start - at, on_bytes)
            yield piece
            at = start + len(piece)
    yield from _zeros(entry.size - at, on_bytes)


_ZEROS: Final = memoryview(bytes(PIECE))


def _zeros(count: int, on_bytes: OnBytes) -> Iterator[memoryview]:
    """Yield the zeros of a hole. One of many terabytes takes long, so whoever waits can stop it."""
    while count > 0:
        yield _ZEROS[: min(count, PIECE)]
        count -= PIECE
        on_bytes(0)


def read_through(files: GuestFileSystem, entry: FileEntry, on_bytes: OnBytes = lambda _count: None) -> int:
    """Read all data of a file, which proves that it can be read; return the number of bytes.

    :raises CorruptError: it cannot be read.
    """
    with files.open(entry.path) as content:
        return sum(len(piece) for _, piece in pieces(content, extents_of(files, entry), on_bytes))


def sha256_of(files: GuestFileSystem, entry: FileEntry, on_bytes: OnBytes = lambda _count: None) -> str:
    """Return the SHA-256 of a file's content, in hex. Its holes are zeros of the content."""
    sha = hashlib.sha256()
    for piece in whole(files, entry, on_bytes):
        sha.update(piece)
    return sha.hexdigest()
