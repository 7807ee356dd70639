"""The content of a file: the ranges of the disk that hold it, and the ranges that nobody has written."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.extents import Extent
from vmkeep.model.prints import UNKNOWN, Print, Prints, moved, prints_of

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer


class Run(NamedTuple):
    """Neighbouring bytes of a file that lie next to one another on the disk, too."""

    start: int
    """Byte offset in the file."""
    length: int
    """Bytes; never 0."""
    place: int | None
    """Byte offset on the disk; ``None``: the bytes are zeros."""


Runs = Callable[[int], Iterator[Run]]
"""Yields a file's runs in order, from the one that holds an offset on. Gaps between runs are holes."""


class Content(io.RawIOBase, ABC):
    """A file's content, for reading and seeking. A kind of content says how a part of it is filled."""

    def __init__(self, size: int) -> None:
        """Begin at the first of ``size`` bytes."""
        super().__init__()
        self._size = size
        self._at = 0

    @abstractmethod
    def _fill(self, view: memoryview, at: int) -> int:
        """Fill at least one byte of a view with the bytes from an offset on, and return their number.

        The view is not empty, and does not reach beyond the content's end.
        """

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, also beyond the end, as in any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError(f"a file has no byte {base + offset}")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        """Fill a buffer as far as the file reaches, and return the number of bytes.

        :raises CorruptError: a block of the disk is damaged, or the file's structures contradict themselves.
        """
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        done = 0
        while done < wanted:
            done += self._fill(view[done:wanted], self._at + done)
        self._at += done
        return done


class HeldContent(Content):
    """A short content in memory, e.g. one that lies within an inode."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self._data = data

    def _fill(self, view: memoryview, at: int) -> int:
        view[:] = self._data[at : at + len(view)]
        return len(view)


class FileContent(Content):
    """A file's content over its runs. It holds one run at a time, however many there are."""

    def __init__(self, volume: Volume, runs: Runs, size: int) -> None:
        """Take the runs of a file of ``size`` bytes. Runs may reach beyond its end."""
        super().__init__(size)
        self._volume = volume
        self._runs = runs
        self._left: Iterator[Run] = iter(())
        self._run: Run | None = None
        self._from = -1

    def _fill(self, view: memoryview, at: int) -> int:
        run = self._run_at(at)
        if run is None or run.start > at:
            length = len(view) if run is None else min(len(view), run.start - at)
            view[:length] = bytes(length)
            return length
        length = min(len(view), run.start + run.length - at)
        if run.place is None:
            view[:length] = bytes(length)
            return length
        start = run.place + at - run.start
        if start + length > self._volume.capacity:
            raise self._volume.damaged(f"a file lies at the bytes {start} to {start + length}, beyond the volume's end")
        self._volume.disk.read_into(start, view[:length])
        return length

    def _run_at(self, at: int) -> Run | None:
        """Return the run that holds an offset, or the next one behind it."""
        if self._from < 0 or at < self._from:
            self._left = self._runs(at)
            self._run = next(self._left, None)
        while self._run is not None and self._run.start + self._run.length <= at:
            self._run = next(self._left, None)
        self._from = at
        return self._run


def whole(content: io.RawIOBase, length: int) -> bytes:
    """Return the first bytes of a content, of which the caller knows that they fit into memory."""
    content.seek(0)
    parts = []
    while length > 0 and (part := content.read(length)):
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def extents_of(runs: Iterable[Run], size: int) -> Iterator[Extent]:
    """Yield the ranges of a file that may hold data. Those that touch become one."""
    start = stop = 0
    for run in runs:
        if run.start >= size:
            break
        if run.place is None:
            continue
        if run.start > stop or start == stop:
            if stop > start:
                yield Extent(start, stop)
            start = run.start
        stop = min(size, run.start + run.length)
    if stop > start:
        yield Extent(start, stop)


def prints_of_runs(volume: Volume, runs: Iterable[Run], size: int) -> Prints:
    """Yield the prints of a file by its runs.

    :raises CorruptError: a run lies beyond the volume's end.
    """
    for run in runs:
        if run.start >= size:
            return
        if run.place is not None:
            stop = run.place + min(run.length, size - run.start)
            if stop > volume.capacity:
                raise volume.damaged(f"a file lies at the bytes {run.place} to {stop}, beyond the volume's end")
            yield from moved(prints_of(volume.disk, run.place, stop), by=run.start - run.place)


def print_of_whole(size: int, form: Iterable[object], prints: Prints | None = None) -> Prints:
    """Yield one print for a whole file that follows from some values, and from ranges of the disk with their prints.

    :param form: all that says how the content is made: the content itself, or where it lies and how it is packed.
    """
    made = hashlib.sha256()
    for value in form:
        made.update(repr(value).encode() + b"\n")
    for extent, known in prints or ():
        if known.digest is None:
            yield Extent(0, size), UNKNOWN
            return
        made.update(repr((extent, known)).encode() + b"\n")
    if size:
        yield Extent(0, size), Print(made.digest())
