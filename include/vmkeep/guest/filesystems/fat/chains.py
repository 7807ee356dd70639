"""Clusters, and the chains of them in the table that gave FAT its name."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.content import Run
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass

_FIRST: Final = 2
"""Number of the first cluster."""
_LONGEST_RUN: Final = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters:
    """Where clusters and their table lie. Places and sizes in bytes."""

    volume: Volume
    bits: int
    """Width of an entry of the table: 12, 16 or 32."""
    table: int
    heap: int
    """Place of the first cluster."""
    size: int
    count: int

    @property
    def _end(self) -> int:
        """Smallest entry that ends a chain."""
        return {12: 0xFF8, 16: 0xFFF8, 32: 0xFFFFFF8}[self.bits]

    def entry(self, cluster: int) -> int:
        """Return the entry of a cluster in the table."""
        if self.bits == 12:
            (pair,) = struct.unpack("<H", self.volume.read(self.table + cluster * 3 // 2, 2))
            return int(pair >> 4 if cluster & 1 else pair & 0xFFF)
        if self.bits == 16:
            return int(struct.unpack("<H", self.volume.read(self.table + cluster * 2, 2))[0])
        return int(struct.unpack("<I", self.volume.read(self.table + cluster * 4, 4))[0])

    def has(self, cluster: int) -> bool:
        """Return whether there is a cluster of a number."""
        return _FIRST <= cluster < _FIRST + self.count

    def place(self, cluster: int) -> int:
        """Return a cluster's place."""
        return self.heap + (cluster - _FIRST) * self.size

    def chain(self, first: int, *, mask: int, what: str) -> Iterator[int]:
        """Yield the clusters of a chain.

        :param mask: the bits of an entry that count.
        :param what: the thing that lies in it, for messages.
        :raises CorruptError: the chain leaves the volume, or goes round in a circle.
        """
        cluster = first
        for _ in range(self.count):
            if not self.has(cluster):
                raise self.volume.damaged(f"{what}: its chain goes on at the cluster {cluster}, which does not exist")
            yield cluster
            cluster = self.entry(cluster) & mask
            if cluster >= self._end & mask:
                return
        raise self.volume.damaged(f"{what}: its chain of clusters goes round in a circle")

    def runs(self, chain: Iterator[int], size: int, *, what: str) -> Iterator[Run]:
        """Yield the runs of ``size`` bytes that lie in a chain.

        :raises CorruptError: the chain is too short.
        """
        start = place = length = 0
        for cluster in chain:
            here = self.place(cluster)
            if length and here == place + length and length < _LONGEST_RUN:
                length += self.size
            else:
                if length:
                    yield Run(start, length, place)
                start, place, length = start + length, here, self.size
            if start + length >= size:
                break
        if start + length < size:
            raise self.volume.damaged(f"{what}: it has {size} bytes, but clusters for only {start + length}")
        if length:
            yield Run(start, length, place)
