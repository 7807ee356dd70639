"""Builds the map of a disk while the disk is copied, in memory that does not grow with the disk.

The builder starts with the parent point's map, or with zeros, and takes a digest for each block that was read. It opens
a page when something in it changes. Once the copy has passed the page, the builder stores it and frees its memory.
Unchanged pages are shared with the parent by their digests, so the metadata written is proportional to the change.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from itertools import islice

from vmkeep.errors import UsageError
from vmkeep.model.extents import Extent
from vmkeep.repository.blocks import BlockWriter
from vmkeep.repository.frames import DIGEST_SIZE, ZERO, Digester, Kind
from vmkeep.repository.maps.maps import EMPTY_PAGE, FAN_OUT, DiskMap, Shape, encode_root

_FETCHED_AHEAD = 512
"""Number of the parent's leaf pages that are read together."""
_SHIFT = FAN_OUT.bit_length() - 1


class MapBuilder:
    """A map under construction. :meth:`set` is thread-safe; one thread calls the other methods."""

    def __init__(self, shape: Shape, writer: BlockWriter, digester: Digester, *, base: DiskMap | None = None) -> None:
        """Start from the parent's map, or from zeros.

        :param base: the parent's map; ``None``: zeros.
        :raises UsageError: the base has another block size, or is larger than this disk. Read the disk in full.
        """
        if base is not None and (base.block_size != shape.block_size or base.capacity > shape.capacity):
            raise UsageError("the parent's disk is larger or has other blocks; read this one in full, without a parent")
        self.shape = shape
        self._writer = writer
        self._digester = digester
        self._base = base
        self._lock = threading.Lock()
        self._expected: Sequence[Extent] = ()
        self._fetched: set[int] = set()
        self._open: dict[tuple[int, int], bytearray] = {}
        self._top = ZERO if base is None else base.top
        self._graft()

    def _graft(self) -> None:
        """Put the parent's tree below the additional levels of pages that a grown disk has."""
        if self._base is None or self._base.top == ZERO:
            return
        for level in range(self._base.shape.levels + 1, self.shape.levels + 1):
            page = self._open[level, 0] = bytearray(EMPTY_PAGE)
            if level == self._base.shape.levels + 1:
                page[:DIGEST_SIZE] = self._base.top

    def expect(self, extents: Sequence[Extent]) -> None:
        """Announce the extents that will be set, so that the parent's pages can be read many at a time."""
        self._expected = extents

    def set(self, first: int, digests: Sequence[bytes]) -> None:
        """Set the digests of some blocks, from block ``first`` on. Add their content to the writer before."""
        if not self.shape.levels:
            self._top = digests[0]
            return
        with self._lock:
            for block, digest in enumerate(digests, first):
                self._put(1, block >> _SHIFT, block & (FAN_OUT - 1), digest)

    def clear(self, extents: Sequence[Extent]) -> None:
        """Set some whole blocks to zeros, at the cost of their pages at most. Set nothing in them afterwards."""
        with self._lock:
            for extent in extents:
                self._clear(extent.start // self.shape.block_size, -(-extent.stop // self.shape.block_size))

    def _clear(self, first: int, stop: int) -> None:
        """Clear single rows at both ends of a range of blocks, and the largest whole subtrees between them."""
        if not self.shape.levels:
            self._top = ZERO
            return
        if stop >= self.shape.blocks:
            stop = 1 << (_SHIFT * self.shape.levels)  # entries beyond the disk's end are zeros anyway
        for level in range(1, self.shape.levels + 1):
            head = min(stop, -(-first // FAN_OUT) * FAN_OUT)
            tail = max(head, stop // FAN_OUT * FAN_OUT)
            for row in (*range(first, head), *range(tail, stop)):
                self._put(level, row >> _SHIFT, row & (FAN_OUT - 1), ZERO)
            first, stop = head >> _SHIFT, tail >> _SHIFT
            if first == stop:
                return
            self._drop(level, first, stop)
        self._open[self.shape.levels, 0] = bytearray(EMPTY_PAGE)

    def _drop(self, level: int, first: int, stop: int) -> None:
        """Drop the open pages of a level that lie in a cleared range."""
        if stop - first > len(self._open):
            inside = [key for key in self._open if key[0] == level and first <= key[1] < stop]
        else:
            inside = [(level, index) for index in range(first, stop)]
        for key in inside:
            self._open.pop(key, None)

    def _put(self, level: int, index: int, row: int, digest: bytes) -> None:
        self._page(level, index)[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE] = digest

    def _page(self, level: int, index: int) -> bytearray:
        page = self._open.get((level, index))
        if page is None:
            if level == 1 and self._base is not None and index not in self._fetched:
                self._fetch_from(self._base, index)
            page = bytearray(EMPTY_PAGE if self._base is None else self._base.page(level, index))
            self._open[level, index] = page
        return page

    def _fetch_from(self, base: DiskMap, leaf: int) -> None:
        """Read the parent's pages for this leaf and the next expected leaves."""
        span = self.shape.block_size * FAN_OUT
        at = max(0, bisect_right(self._expected, leaf, key=lambda extent: extent.start // span) - 1)
        extents = (self._expected[number] for number in range(at, len(self._expected)))
        leaves = (
            index for extent in extents for index in range(max(extent.start // span, leaf), -(-extent.stop // span))
        )
        ahead = list(dict.fromkeys(islice(leaves, _FETCHED_AHEAD))) or [leaf]
        self._fetched = set(ahead)
        base.prefetch(ahead)

    def close_below(self, block: int) -> None:
        """Store the pages that end at or before ``block``, and free their memory. Set nothing below it afterwards."""
        with self._lock:
            for level in range(1, self.shape.levels):
                span = 1 << (_SHIFT * level)
                done = sorted(key for key in self._open if key[0] == level and (key[1] + 1) * span <= block)
                for key in done:
                    digest = self._store(self._open.pop(key))
                    self._put(level + 1, key[1] >> _SHIFT, key[1] & (FAN_OUT - 1), digest)

    def store(self) -> str:
        """Store the map as it is now, and return its root. More blocks may be set afterwards.

        The map can be read once the writer is flushed.
        """
        with self._lock:
            pages = {key: bytearray(page) for key, page in self._open.items()}
            top = self._top
            for level in range(1, self.shape.levels + 1):
                for key in sorted(key for key in pages if key[0] == level):
                    digest = self._store(pages.pop(key))
                    if level == self.shape.levels:
                        top = digest
                        continue
                    above = (level + 1, key[1] >> _SHIFT)
                    if above not in pages:
                        pages[above] = bytearray(self._base_page(*above))
                    row = key[1] & (FAN_OUT - 1)
                    pages[above][row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE] = digest
            return self._store_root(top)

    def _base_page(self, level: int, index: int) -> bytes:
        return EMPTY_PAGE if self._base is None else self._base.page(level, index)

    def _store(self, page: bytearray) -> bytes:
        if page == EMPTY_PAGE:
            return ZERO
        digest = self._digester.of(Kind.PAGE, page)
        self._writer.add(Kind.PAGE, digest, page)
        return digest

    def _store_root(self, top: bytes) -> str:
        content = encode_root(self.shape, top)
        digest = self._digester.of(Kind.PAGE, content)
        self._writer.add(Kind.PAGE, digest, content)
        return digest.hex()
