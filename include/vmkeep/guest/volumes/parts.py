"""Disks that are made of parts of other disks: a partition, extents one after the other, stripes.

Each is a :class:`~vmkeep.model.blockio.RandomDisk`. Reads are handed on in as few calls as there can be, because a call
costs more than the copy of a stripe. Holes of the disks below stay holes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from vmkeep.lateclass import dataclass
from vmkeep.model.blockio import RandomDisk
from vmkeep.model.extents import Extent
from vmkeep.model.prints import ZEROS, Prints, prints_of
from vmkeep.model.prints import moved as prints_moved

_AT_ONCE: Final = 8 << 20
"""Bytes of stripes that are gathered before they are sorted into a caller's buffer."""

Runs = Iterator[tuple[Extent, bool]]


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a disk that lie together on another one."""

    disk: RandomDisk | None
    """``None``: they are zeros."""
    offset: int
    """Where they begin on the other disk."""
    length: int


class JoinedDisk:
    """Parts, one after the other. Thread-safe."""

    def __init__(self, parts: Iterable[Part], *, what: str) -> None:
        """Join parts that lie within their disks.

        :param what: the name in errors.
        """
        self.what = what
        self._parts = [part for part in parts if part.length]
        self._starts: list[int] = []
        at = 0
        for part in self._parts:
            self._starts.append(at)
            at += part.length
        self._capacity = at

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._capacity

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on.

        :raises CorruptError: a stored block is damaged.
        :raises ValueError: the range reaches beyond the disk.
        """
        require_inside(self, start, start + len(buffer))
        for part, begin, at, length in self._within(start, start + len(buffer)):
            piece = buffer[at - start : at - start + length]
            if part.disk is None:
                piece[:] = bytes(length)
            else:
                part.disk.read_into(begin, piece)

    def extents(self, start: int, stop: int) -> Runs:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data, false: only zeros."""
        require_inside(self, start, stop)
        return merged(self._runs(start, stop))

    def _runs(self, start: int, stop: int) -> Runs:
        for part, begin, at, length in self._within(start, stop):
            if part.disk is None:
                yield Extent(at, at + length), False
            else:
                yield from moved(part.disk.extents(begin, begin + length), by=at - begin)

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, in order, each with its print."""
        require_inside(self, start, stop)
        for part, begin, at, length in self._within(start, stop):
            if part.disk is None:
                yield Extent(at, at + length), ZEROS
            else:
                yield from prints_moved(prints_of(part.disk, begin, begin + length), by=at - begin)

    def _within(self, start: int, stop: int) -> Iterator[tuple[Part, int, int, int]]:
        """Yield the parts that cover a range: part, offset on its disk, offset on this one, and length."""
        number = bisect_right(self._starts, start) - 1
        while start < stop:
            part, first = self._parts[number], self._starts[number]
            length = min(stop, first + part.length) - start
            yield part, part.offset + start - first, start, length
            start += length
            number += 1


class StripedDisk:
    """Stripes that go round several disks, as LVM's ``striped`` and RAID 0 lay them. Thread-safe."""

    def __init__(self, disks: Sequence[RandomDisk], *, stripe: int, what: str) -> None:
        """Join disks of one capacity, which is a whole number of stripes.

        :param stripe: bytes of a stripe.
        :param what: the name in errors.
        :raises ValueError: the disks do not fit together.
        """
        capacities = {disk.capacity for disk in disks}
        if stripe < 1 or len(capacities) != 1 or any(capacity % stripe for capacity in capacities):
            raise ValueError(f"{what}: disks of {sorted(capacities)} bytes are no stripes of {stripe} bytes")
        self.what = what
        self._disks = disks
        self._stripe = stripe
        self._row = stripe * len(disks)

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self._disks[0].capacity * len(self._disks)

    def read_into(self, start: int, buffer: memoryview) -> None:
        """Fill a buffer with the bytes from an offset on: one read of each disk for some megabytes.

        :raises CorruptError: a stored block is damaged.
        :raises ValueError: the range reaches beyond the disk.
        """
        require_inside(self, start, start + len(buffer))
        at, stop = start, start + len(buffer)
        while at < stop:
            end = min(stop, (at // self._stripe + 1) * self._stripe)
            if end == stop:
                self._read_within(at, buffer[at - start :])
            else:
                end = min(stop, (at // self._row + max(1, _AT_ONCE // self._row)) * self._row)
                self._gather(at, buffer[at - start : end - start])
            at = end

    def _read_within(self, start: int, buffer: memoryview) -> None:
        """Read bytes of one stripe."""
        row, within = divmod(start, self._row)
        number, rest = divmod(within, self._stripe)
        self._disks[number].read_into(row * self._stripe + rest, buffer)

    def _gather(self, start: int, buffer: memoryview) -> None:
        """Read what each disk has of a range, and sort the stripes into the buffer."""
        stripe, stop = self._stripe, start + len(buffer)
        first, last = start // stripe, (stop - 1) // stripe
        for number, disk in enumerate(self._disks):
            mine = range(first + (number - first) % len(self._disks), last + 1, len(self._disks))
            if not mine:
                continue
            low = self._place(max(start, mine[0] * stripe))
            high = self._place(min(stop, (mine[-1] + 1) * stripe) - 1) + 1
            content = memoryview(bytearray(high - low))
            disk.read_into(low, content)
            for each in mine:
                begin, end = max(start, each * stripe), min(stop, (each + 1) * stripe)
                place = self._place(begin) - low
                buffer[begin - start : end - start] = content[place : place + end - begin]

    def _place(self, at: int) -> int:
        """Return where a byte lies on its disk."""
        return at // self._row * self._stripe + at % self._stripe

    def extents(self, start: int, stop: int) -> Runs:
        """Yield the neighbouring extents that cover a range, in order; true: it may hold data, false: only zeros.

        A row of stripes is told as a whole, because stripes told one by one could be thousands of millions.
        """
        require_inside(self, start, stop)
        return merged(self._runs(start, stop))

    def _runs(self, start: int, stop: int) -> Runs:
        if start == stop:
            return
        row, end = start // self._row, -(-stop // self._row)
        below = [disk.extents(row * self._stripe, end * self._stripe) for disk in self._disks]
        heads = [next(runs) for runs in below]
        while row < end:
            place = row * self._stripe
            for number, runs in enumerate(below):
                while heads[number][0].stop <= place:
                    heads[number] = next(runs)
            rows = min(extent.stop for extent, _ in heads) // self._stripe - row
            is_data = any(flag for _, flag in heads)
            if not rows:  # an extent ends within this row
                rows, is_data = 1, is_data or self._has_data(row)
            yield Extent(max(start, row * self._row), min(stop, (row + rows) * self._row)), is_data
            row += rows

    def prints(self, start: int, stop: int) -> Prints:
        """Yield the neighbouring extents that cover a range, in order, each with its print: one or more a stripe."""
        require_inside(self, start, stop)
        at = start
        while at < stop:
            end = min(stop, (at // self._stripe + 1) * self._stripe)
            place = self._place(at)
            disk = self._disks[at // self._stripe % len(self._disks)]
            yield from prints_moved(prints_of(disk, place, place + end - at), by=at - place)
            at = end

    def _has_data(self, row: int) -> bool:
        place = row * self._stripe
        return any(flag for disk in self._disks for _, flag in disk.extents(place, place + self._stripe))


def require_inside(disk: RandomDisk, start: int, stop: int) -> None:
    """Return if a range is on a disk.

    :raises ValueError: it is not.
    """
    if not 0 <= start <= stop <= disk.capacity:
        what = getattr(disk, "what", "disk")
        raise ValueError(f"{what}: bytes {start} to {stop} are not on a disk of {disk.capacity} bytes")


def part_of(disk: RandomDisk, start: int, length: int, *, what: str) -> RandomDisk:
    """Return a part of a disk as a disk.

    :raises ValueError: the part reaches beyond the disk.
    """
    require_inside(disk, start, start + length)
    return JoinedDisk([Part(disk, start, length)], what=what)


def moved(runs: Iterable[tuple[Extent, bool]], *, by: int) -> Runs:
    """Yield extents at other places."""
    for extent, is_data in runs:
        yield Extent(extent.start + by, extent.stop + by), is_data


def merged(runs: Iterable[tuple[Extent, bool]]) -> Runs:
    """Yield extents, neighbours of one kind as one."""
    held: tuple[Extent, bool] | None = None
    for extent, is_data in runs:
        if held is not None and held[1] == is_data:
            held = Extent(held[0].start, extent.stop), is_data
            continue
        if held is not None:
            yield held
        held = extent, is_data
    if held is not None:
        yield held
