"""A thin volume as a disk."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.errors import CorruptError
from vmkeep.guest.volumes.parts import Runs, merged, moved, require_inside
from vmkeep.guest.volumes.thin.pool import ThinPool
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.prints import ZEROS, Prints, prints_of
from vmkeep.model.prints import moved as prints_moved


class ThinDisk:
    """A thin volume. Blocks that it does not have are zeros, or those of its external origin. Thread-safe."""

    def __init__(
        self, pool: ThinPool, device: int, *, capacity: int, what: str, origin: RandomDisk | None = None
    ) -> None:
        """Look the volume up in its pool.

        :param device: its number in the pool.
        :param what: its name in errors.
        :param origin: a volume outside the pool, which has the blocks that were never written.
        :raises CorruptError: the pool has no such volume, or its metadata contradict themselves.
        """
        self.what = what
        self.capacity = capacity
        self._pool = pool
        self._origin = origin
        self._root = pool.require(device)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on.

        :raises CorruptError: a stored block is damaged, or the pool's metadata contradict themselves.
        :raises ValueError: the range reaches beyond the disk.
        """
        require_inside(self, start, start + len(buffer))
        for begin, end, place in self._mapped(start, start + len(buffer)):
            piece = buffer[begin - start : end - start]
            if place is None:
                self._read_unmapped(begin, piece)
            else:
                self._require_stored(place + end - begin)
                self._pool.data.read_into(place, piece)

    def extents(self, start: int, stop: int) -> Runs:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data, false: only zeros.

        :raises CorruptError: the pool's metadata contradict themselves.
        """
        require_inside(self, start, stop)
        return merged(self._runs(start, stop))

    def _runs(self, start: int, stop: int) -> Runs:
        for begin, end, place in self._mapped(start, stop):
            if place is not None:
                self._require_stored(place + end - begin)
                yield from moved(self._pool.data.extents(place, place + end - begin), by=begin - place)
                continue
            within = begin if self._origin is None else max(begin, min(end, self._origin.capacity))
            if self._origin is not None and within > begin:
                yield from self._origin.extents(begin, within)
            if within < end:
                yield Extent(within, end), False

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, in order, each with its print.

        :raises CorruptError: the pool's metadata contradict themselves.
        """
        require_inside(self, start, stop)
        for begin, end, place in self._mapped(start, stop):
            if place is not None:
                self._require_stored(place + end - begin)
                yield from prints_moved(prints_of(self._pool.data, place, place + end - begin), by=begin - place)
                continue
            within = begin if self._origin is None else max(begin, min(end, self._origin.capacity))
            if self._origin is not None and within > begin:
                yield from prints_of(self._origin, begin, within)
            if within < end:
                yield Extent(within, end), ZEROS

    def _mapped(self, start: int, stop: int) -> Iterator[tuple[int, int, int | None]]:
        """Yield the ranges that cover a range: start, stop, and offset in the pool; ``None``: the volume has none."""
        chunk, at = self._pool.chunk, start
        if start == stop:
            return
        for first, place, count in self._pool.runs(self._root, start // chunk, -(-stop // chunk)):
            begin, end = max(start, first * chunk), min(stop, (first + count) * chunk)
            if begin > at:
                yield at, begin, None
            yield begin, end, place * chunk + begin - first * chunk
            at = end
        if at < stop:
            yield at, stop, None

    def _read_unmapped(self, start: int, buffer: memoryview) -> None:
        held = 0
        if self._origin is not None:
            held = max(0, min(len(buffer), self._origin.capacity - start))
            if held:
                self._origin.read_into(start, buffer[:held])
        buffer[held:] = bytes(len(buffer) - held)

    def _require_stored(self, stop: int) -> None:
        if stop > self._pool.data.capacity:
            raise CorruptError(f"{self.what}: a block lies beyond the end of the pool {self._pool.what}")
