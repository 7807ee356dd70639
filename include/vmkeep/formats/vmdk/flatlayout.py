"""Plans a flat VMDK: a descriptor, and a file with the disk's bytes in their order, whose holes are the disk's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmkeep.formats.layout import PlannedFile, Run
from vmkeep.formats.vmdk.describing import ExtentLine, VmdkFacts, describe
from vmkeep.model.extents import Extent


class FlatVmdk:
    """The layout of ``monolithicFlat``."""

    def __init__(self, facts: VmdkFacts, capacity: int, stored: Sequence[Extent]) -> None:
        data = f"{facts.name}-flat.vmdk"
        self.capacity = capacity
        self._stored = stored
        self._descriptor = describe(
            facts, "monolithicFlat", capacity, [ExtentLine(size=capacity, kind="FLAT", file=data)]
        )
        self.files: Sequence[PlannedFile] = (
            PlannedFile(name=f"{facts.name}.vmdk", size=len(self._descriptor)),
            PlannedFile(name=data, size=capacity),
        )

    def runs(self) -> Iterator[Run]:
        """Yield the descriptor, then the parts that hold data."""
        yield Run(file=0, offset=0, length=len(self._descriptor), data=self._descriptor)
        for extent in self._stored:
            yield from self.place(extent.start, extent.length)

    def place(self, start: int, length: int) -> Iterator[Run]:
        """Yield the part's place in the data file, which is its place on the disk."""
        if start < 0 or length < 0 or start + length > self.capacity:
            raise ValueError(f"[{start}, {start + length}) reaches beyond a disk of {self.capacity} bytes")
        if length:
            yield Run(file=1, offset=start, length=length, start=start)
