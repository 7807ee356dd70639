"""Maps: the content of a disk, as a tree of digests over its blocks.

A page is 64 digests (2 KiB). Pages of level 1 name blocks; pages of level n + 1 name pages of level n. The top is the
only page of the highest level, or the block itself if a disk has only one. The reserved digest names a block, a page or
a whole disk that is all zeros; it is not stored. The root is a page with another layout:

    8 bytes   magic ``VKMAP`` and three zero bytes
    u64       capacity in bytes
    u32       block size
    u16       digests in a page: 64
    u16       levels
    32 bytes  digest of the top

The tree follows from the disk's bytes and the block size alone. So equal roots mean equal disks, and equal disks with
one block size have equal roots. The last block is not padded; it ends with the disk.

Decision 0003 says why a page has 64 digests.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from vmkeep.blobs import Bytes
from vmkeep.errors import CorruptError, StaleError
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent
from vmkeep.repository.frames import DIGEST_SIZE, ZERO

FAN_OUT = 64
_SHIFT = 6
PAGE_SIZE = FAN_OUT * DIGEST_SIZE
EMPTY_PAGE = bytes(PAGE_SIZE)
_ROOT = struct.Struct("<8sQIHH32s")
_MAGIC = b"VKMAP\0\0\0"
ROOT_SIZE = _ROOT.size
MAX_CAPACITY = 1 << 56
_CACHED_PAGES = 4096

PageFetcher = Callable[[Sequence[bytes], int], dict[bytes, bytes]]
"""Takes digests and the pages' size in bytes; returns the verified pages by digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The form of a map, which follows from capacity and block size."""

    capacity: int
    block_size: int

    @property
    def blocks(self) -> int:
        """Number of blocks; the last one may be short."""
        return -(-self.capacity // self.block_size)

    @property
    def levels(self) -> int:
        """Levels of pages between the root and the blocks."""
        levels = 0
        while 1 << (_SHIFT * levels) < self.blocks:
            levels += 1
        return levels

    def block_length(self, block: int) -> int:
        """Return the length of a block in bytes."""
        return min(self.block_size, self.capacity - block * self.block_size)

    def extent(self, first: int, stop: int) -> Extent:
        """Return the extent of the blocks from ``first`` up to ``stop``, clipped to the disk."""
        return Extent(first * self.block_size, min(self.capacity, stop * self.block_size))


def encode_root(shape: Shape, top: bytes) -> bytes:
    """Return the content of a root page."""
    return _ROOT.pack(_MAGIC, shape.capacity, shape.block_size, FAN_OUT, shape.levels, top)


def parse_root(content: Bytes) -> tuple[Shape, bytes]:
    """Return the shape and the top digest that a root page names.

    :raises CorruptError: the content is not a root page, or one with a form that this version does not know.
    """
    if len(content) != ROOT_SIZE:
        raise CorruptError("map root has a wrong length")
    magic, capacity, block_size, fan_out, levels, top = _ROOT.unpack(content)
    if magic != _MAGIC or capacity > MAX_CAPACITY or not block_size or block_size & (block_size - 1):
        raise CorruptError("not a map root")
    shape = Shape(capacity=capacity, block_size=block_size)
    if fan_out != FAN_OUT or levels != shape.levels:
        raise CorruptError("map root has a form that its capacity does not allow")
    return shape, top


class DiskMap:
    """A map whose pages are read when they are needed. Not thread-safe."""

    def __init__(self, root: str, shape: Shape, top: bytes, fetch: PageFetcher) -> None:
        self.root = root
        self.shape = shape
        self.top = top
        self._fetch = fetch
        self._pages: OrderedDict[bytes, bytes] = OrderedDict()

    @property
    def capacity(self) -> int:
        """Size of the disk in bytes."""
        return self.shape.capacity

    @property
    def block_size(self) -> int:
        """Size of a block in bytes."""
        return self.shape.block_size

    def lookup(self, block: int) -> bytes:
        """Return the digest of one block; :data:`ZERO`: it is all zeros."""
        digest = self.top
        for level in range(self.shape.levels, 0, -1):
            if digest == ZERO:
                return ZERO
            digest = entry(self._page(digest), block >> (_SHIFT * (level - 1)) & (FAN_OUT - 1))
        return digest

    def subtree(self, level: int, index: int) -> bytes:
        """Return the digest of page ``index`` of a level, or of block ``index`` for level 0.

        The result is :data:`ZERO` for all zeros, and beyond the end of the disk.
        """
        levels = self.shape.levels
        if level > levels or index >> (_SHIFT * (levels - level)):
            return ZERO
        digest = self.top
        for above in range(levels, level, -1):
            if digest == ZERO:
                return ZERO
            digest = entry(self._page(digest), index >> (_SHIFT * (above - 1 - level)) & (FAN_OUT - 1))
        return digest

    def page(self, level: int, index: int) -> bytes:
        """Return the content of page ``index`` of a level; an empty page if none is stored."""
        digest = self.subtree(level, index)
        return EMPTY_PAGE if digest == ZERO else self._page(digest)

    def prefetch(self, leaves: Sequence[int]) -> None:
        """Read together the level-1 pages with these sorted indexes, as many as fit in the cache."""
        leaves = leaves[: _CACHED_PAGES // 2]
        for level in range(self.shape.levels - 1, 0, -1):
            indexes = dict.fromkeys(leaf >> (_SHIFT * (level - 1)) for leaf in leaves)
            digests = dict.fromkeys(self.subtree(level, index) for index in indexes)
            self._keep(self._fetch([d for d in digests if d != ZERO and d not in self._pages], PAGE_SIZE))

    def blocks(self, first: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Yield ``(block, digest)`` of every block from ``first`` to ``stop`` that is not zero, in order.

        :raises CorruptError: a page is lost or damaged. The message begins with the page's first byte on the disk.
        """
        stop = self.shape.blocks if stop is None else min(stop, self.shape.blocks)
        if self.top != ZERO and first < stop:
            yield from self._walk(self.top, self.shape.levels, 0, first, stop)

    def _walk(self, digest: bytes, level: int, base: int, first: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Walk one subtree. Read all pages below one page together."""
        if level == 0:
            yield base, digest
            return
        step = 1 << (_SHIFT * (level - 1))
        content = self._page_at(digest, base)
        children = [
            (base + row * step, child)
            for row in range(FAN_OUT)
            if base + row * step < stop
            and base + (row + 1) * step > first
            and (child := content[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE]) != ZERO
        ]
        if level == 1:
            yield from children
            return
        with suppress(CorruptError):  # the walk below raises the error of a damaged page, with its place on the disk
            self._read_together(child for _, child in children)
        for at, child in children:
            yield from self._walk(child, level - 1, at, first, stop)

    def differences(self, other: DiskMap | None) -> Iterator[tuple[int, bytes]]:
        """Yield ``(block, digest in this map)`` of every block that differs from another map, in order.

        Reads nothing below a page that both maps have in the same place.

        :param other: a map with the same block size, of a disk that is not larger; ``None``: a map of zeros.
        :raises CorruptError: a page of this map is lost or damaged; see :meth:`blocks`.
        :raises StaleError: a page of the other map is lost or damaged. Compare with another map, or with none.
        """
        if other is None:
            yield from self.blocks()
            return
        theirs = other.top if other.shape.levels == self.shape.levels else None
        yield from self._differing(other, self.shape.levels, 0, self.top, theirs)

    def _differing(
        self, other: DiskMap, level: int, index: int, mine: bytes, theirs: bytes | None
    ) -> Iterator[tuple[int, bytes]]:
        """Walk one subtree of two maps; ``theirs`` is ``None`` above the other map's top."""
        if mine == theirs:
            return
        if level == 0:
            yield index, mine
            return
        here = EMPTY_PAGE if mine == ZERO else self._page_at(mine, index << (_SHIFT * level))
        if theirs is None:
            top = other.top if level - 1 == other.shape.levels else None
            there: list[bytes | None] = [top, *[ZERO] * (FAN_OUT - 1)]
        else:
            page = EMPTY_PAGE if theirs == ZERO else other._compared(theirs)
            there = [entry(page, row) for row in range(FAN_OUT)]
        rows = [row for row in range(FAN_OUT) if entry(here, row) != there[row]]
        if level > 1:
            with suppress(CorruptError):
                self._read_together(entry(here, row) for row in rows)
            with suppress(CorruptError):
                other._read_together(digest for row in rows if (digest := there[row]) is not None)
        for row in rows:
            yield from self._differing(other, level - 1, index * FAN_OUT + row, entry(here, row), there[row])

    def _compared(self, digest: bytes) -> bytes:
        """Return a page with which another map is compared. A damaged page does not make that other map damaged."""
        try:
            return self._page(digest)
        except CorruptError as error:
            raise StaleError(f"a map that another is compared with is damaged: {error}") from error

    def _read_together(self, digests: Iterable[bytes]) -> None:
        """Read together those of some pages that are not in memory."""
        self._keep(self._fetch([d for d in digests if d != ZERO and d not in self._pages], PAGE_SIZE))

    def stored_extents(self) -> Iterator[Extent]:
        """Yield the disk's ranges with anything but zeros, as whole blocks, sorted and not touching each other."""
        begin = end = -1
        for block, _ in self.blocks():
            if block != end:
                if end > begin:
                    yield self.shape.extent(begin, end)
                begin = block
            end = block + 1
        if end > begin:
            yield self.shape.extent(begin, end)

    def _page_at(self, digest: bytes, block: int) -> bytes:
        """Return the page that begins with a block. If it is lost, the error names the byte of the disk."""
        try:
            return self._page(digest)
        except CorruptError as error:
            raise CorruptError(f"byte {block * self.block_size}: {error}") from error

    def _page(self, digest: bytes) -> bytes:
        if (page := self._pages.get(digest)) is None:
            self._keep(self._fetch([digest], PAGE_SIZE))
            return self._pages[digest]
        self._pages.move_to_end(digest)
        return page

    def _keep(self, pages: dict[bytes, bytes]) -> None:
        self._pages.update(pages)
        while len(self._pages) > _CACHED_PAGES:
            self._pages.popitem(last=False)


def entry(page: Bytes, row: int) -> bytes:
    """Return the digest in one row of a page."""
    return bytes(page[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE])
