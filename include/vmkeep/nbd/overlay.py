"""A disk that takes writes and keeps none: they go to a nameless temporary file that dies with the process.

A disk is divided into *cells* of 4 KiB, and these are grouped in *areas* of 16 MiB. A cell is either the base's, or
written (its bytes are in the file), or zero (nothing is stored for it). A write to a part of a cell of the base first
copies the rest of the cell. An area gets a place in the file, and two bits in memory for each of its cells, when it is
written to for the first time. So memory and file grow with what is written, whatever the size of the disk.
"""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Final

from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.scratch import scratch_folder, writing_to

CELL: Final = 4096
_CELLS: Final = 4096
"""Number of cells in an area."""
_AREA: Final = CELL * _CELLS
_AREAS: Final = 1 << 19
"""Most areas that may be written to: 8 TiB, because a file of ext4 has 16 TiB at most."""
_ROOM: Final = 256 << 20
"""Bytes that stay free in the folder of temporary files, so that no guest fills the disk of its host."""


class _Area:
    """The cells of an area that was written to."""

    __slots__ = ("over", "place", "written")

    def __init__(self, place: int) -> None:
        self.place = place
        """Offset in the file, in bytes."""
        self.over = 0
        """The cells that are not the base's any more, one bit for each."""
        self.written = 0
        """The cells whose bytes are in the file; always some of those in ``over``."""

    def state(self, cell: int) -> tuple[bool, bool]:
        """Tell whether a cell is not the base's, and whether it is written."""
        return bool(self.over >> cell & 1), bool(self.written >> cell & 1)


class Overlay:
    """A base disk, and on top of it what was written since. Thread-safe."""

    def __init__(self, base: RandomDisk, file: int) -> None:
        """:param file: descriptor of an empty file that nobody else uses. The caller closes it at the end."""
        self._base = base
        self._file = file
        self._lock = Lock()
        """Held by whoever writes to the file or changes an area."""
        self._areas: dict[int, _Area] = {}

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._base.capacity

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on."""
        for extent, over, place in self._runs(start, start + len(buffer)):
            part = buffer[extent.start - start : extent.stop - start]
            if not over:
                self._base.read_into(extent.start, part)
            elif place is None:
                part[:] = bytes(len(part))
            else:
                self._load(place, part)

    def extents(self, start: int, stop: int) -> Iterator[tuple[Extent, bool]]:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data."""
        for extent, over, place in self._runs(start, stop):
            if over:
                yield extent, place is not None
            else:
                yield from self._base.extents(extent.start, extent.stop)

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes.

        :raises OSError: there is no room for them (``ENOSPC``).
        """
        for at, stop in _parts(start, start + len(data)):
            self._write_part(at, data[at - start : stop - start])

    def write_zeroes(self, start: int, length: int) -> None:
        """Make a range read as zeros. Whole cells of it take no room in the file."""
        for at, stop in _parts(start, start + length):
            if self._is_whole(at, stop):
                with self._lock:
                    area = self._area(at // _AREA)
                    area.over |= _bits(at, stop)
                    area.written &= ~_bits(at, stop)
            else:
                self._write_part(at, memoryview(bytes(stop - at)))

    def discard(self, start: int, length: int) -> None:
        """Give up what was written to the whole cells of a range; they read as zeros then."""
        for at, stop in _parts(start, start + length):
            with self._lock:
                area = self._areas.get(at // _AREA)
                if area is not None and self._is_whole(at, stop):
                    area.written &= ~_bits(at, stop)

    def _write_part(self, start: int, data: memoryview) -> None:
        """Write to whole cells of one area, or to a part of one cell."""
        stop = start + len(data)
        # Read before the lock is taken, because the base may be slow.
        under = b"" if self._is_whole(start, stop) else self._base_under(start)
        with self._lock:
            self._require_room(len(data) + CELL)
            area = self._area(start // _AREA)
            if not self._is_whole(start, stop):
                self._copy_up(area, start, under)
            self._store(area.place + start % _AREA, data)
            area.over |= _bits(start, stop)
            area.written |= _bits(start, stop)

    def _is_whole(self, start: int, stop: int) -> bool:
        """Tell whether a part is made of whole cells. Nothing follows the last cell, so the disk's end is its end."""
        return start % CELL == 0 and (stop % CELL == 0 or stop == self.capacity)

    def _base_under(self, at: int) -> bytes:
        """Return the base's bytes of a cell; nothing if the cell is not the base's any more."""
        area = self._areas.get(at // _AREA)
        if area is not None and area.state(at % _AREA // CELL)[0]:
            return b""
        start = at - at % CELL
        content = bytearray(min(CELL, self.capacity - start))
        self._base.read_into(start, memoryview(content))
        return bytes(content)

    def _copy_up(self, area: _Area, at: int, under: bytes) -> None:
        """Store the present bytes of a cell of which only a part is about to be written. The lock is held.

        :param under: the base's bytes. They are there if the cell is still the base's, because no cell goes back to it.
        """
        over, written = area.state(at % _AREA // CELL)
        if not written:
            self._store(area.place + (at - at % CELL) % _AREA, memoryview(bytes(CELL) if over else under))

    def _area(self, number: int) -> _Area:
        """Return an area, and give it a place if it has none. The lock is held."""
        area = self._areas.get(number)
        if area is None:
            if len(self._areas) == _AREAS:
                raise OSError(errno.ENOSPC, "the overlay holds as much as it can")
            area = self._areas[number] = _Area(len(self._areas) * _AREA)
        return area

    def _require_room(self, length: int) -> None:
        found = os.fstatvfs(self._file)
        if found.f_bavail * found.f_frsize < length + _ROOM:
            raise OSError(errno.ENOSPC, "the folder of temporary files is nearly full: free space there, or set TMPDIR")

    def _store(self, place: int, data: memoryview) -> None:
        while data:
            count = os.pwrite(self._file, data, place)
            place, data = place + count, data[count:]

    def _load(self, place: int, buffer: memoryview) -> None:
        while buffer:
            if not (count := os.preadv(self._file, [buffer], place)):
                raise OSError(errno.EIO, "the file of the overlay was cut")
            place, buffer = place + count, buffer[count:]

    def _runs(self, start: int, stop: int) -> Iterator[tuple[Extent, bool, int | None]]:
        """Yield the neighbouring parts of a range that differ in where their bytes are.

        Each comes with whether it is not the base's any more, and with its place in the file, if it has one there.
        """
        if not 0 <= start <= stop <= self.capacity:
            raise ValueError(f"bytes {start} to {stop} are beyond the disk's {self.capacity}")
        while start < stop:
            number, within = divmod(start, _AREA)
            end = min(stop, (number + 1) * _AREA)
            with self._lock:
                area = self._areas.get(number)
                over, written = (area.over, area.written) if area else (0, 0)
            if over:
                cell = within // CELL
                end = min(end, number * _AREA + CELL * _run_end(over, written, cell))
            is_over, is_written = bool(over >> within // CELL & 1), bool(written >> within // CELL & 1)
            yield Extent(start, end), is_over, area.place + within if area and is_written else None
            start = end


@contextmanager
def open_overlay(base: RandomDisk) -> Iterator[Overlay]:
    """Put an overlay on a disk. All that was written is gone when the context ends, or the process.

    :raises TransientError: no temporary file can be made.
    """
    folder = scratch_folder()
    with ExitStack() as stack:
        with writing_to(folder):
            file = stack.enter_context(tempfile.TemporaryFile(dir=folder, prefix="vmkeep-overlay-"))
        yield Overlay(base, file.fileno())


def _parts(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield neighbouring parts of a range. Each is made of whole cells of one area, or is a part of one cell."""
    while start < stop:
        end = min(stop, (start // _AREA + 1) * _AREA)
        if start % CELL:
            end = min(end, -(-start // CELL) * CELL)
        elif end - start > CELL:
            end -= end % CELL
        yield start, end
        start = end


def _bits(start: int, stop: int) -> int:
    """Return the bits of the cells that a part of an area touches."""
    first, last = start % _AREA // CELL, -(-(start % _AREA + stop - start) // CELL)
    return (1 << last) - (1 << first)


def _run_end(over: int, written: int, cell: int) -> int:
    """Return the first cell after a cell whose state differs, or the number of cells in an area."""
    changed = 0
    for bits in (over, written):
        shifted = bits >> cell
        changed |= shifted ^ (shifted >> 1)  # bit n: the cells n and n + 1 behind this one differ
    return min(cell + (changed & -changed).bit_length(), _CELLS) if changed else _CELLS
