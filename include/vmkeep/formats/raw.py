"""A raw image: one file with the bytes of the disk, and holes where the disk has only zeros."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vmkeep.formats.layout import Layout, PlannedFile, Run
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent, Extents


def plan_raw(name: str, capacity: int, stored: Iterable[Extent]) -> Layout:
    """Plan a raw image.

    :param name: name of the file.
    :param capacity: bytes of the disk.
    :param stored: the parts of the disk that hold data, as a normal sequence.
    """
    return _RawLayout(name=name, capacity=capacity, stored=Extents(stored))


@dataclass(frozen=True, slots=True, kw_only=True)
class _RawLayout:
    """The plan of a raw image; see :class:`~vmkeep.formats.layout.Layout`."""

    name: str
    capacity: int
    stored: Extents

    @property
    def files(self) -> Sequence[PlannedFile]:
        """The only file, as large as the disk."""
        return (PlannedFile(name=self.name, size=self.capacity),)

    def runs(self) -> Iterator[Run]:
        """Yield a run for each part that holds data."""
        for extent in self.stored:
            yield from self.place(extent.start, extent.length)

    def place(self, start: int, length: int) -> Iterator[Run]:
        """Yield the same place in the file."""
        yield Run(file=0, offset=start, length=length, start=start)
