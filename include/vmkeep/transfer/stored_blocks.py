"""The stored blocks of a disk that are to be read: finds them in the map and in the index, in windows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from vmkeep.errors import CorruptError
from vmkeep.model.extents import Extent
from vmkeep.repository import BlockReader, DiskMap, Kind, Location, Wanted


class StoredBlocks:
    """Stored blocks of one disk. One thread at a time iterates over them, because it reads the map."""

    def __init__(
        self,
        disk: DiskMap,
        blocks: BlockReader,
        *,
        what: str,
        select: Callable[[bytes], bool] | None = None,
        chosen: Iterable[tuple[int, bytes]] | None = None,
    ) -> None:
        """Name the blocks.

        :param what: the disk's name in errors.
        :param select: tells by digest whether to read a block; ``None``: read all.
        :param chosen: the numbers and digests of the only blocks to read, in order; ``None``: all stored blocks. It is
            iterated over each time the blocks are looked up.
        """
        self.disk = disk
        self._blocks = blocks
        self._what = what
        self._select = select
        self._chosen = chosen
        self._kept: list[Wanted] | None = None
        """The frames of the only window."""

    def count(self, window: int, *, keep: bool = False) -> tuple[int, int]:
        """Read the whole map and look every block up in the index, so that a loss shows before any content is read.

        :param window: number of blocks that are looked up together.
        :param keep: keep the frames for :meth:`frames` if all of them are in one window.
        :returns: the number of blocks, and of their bytes.
        :raises CorruptError: a page is damaged, or a block is in no pack.
        """
        count = size = 0
        self._kept = None
        for number, some in enumerate(self.windows(window)):
            frames = self.located(some)
            self._kept = frames if keep and number == 0 else None
            for frame in frames:
                count += len(frame.places)
                size += sum(map(self.disk.shape.block_length, frame.places))
        return count, size

    def frames(self, window: int) -> Iterator[list[Wanted]]:
        """Yield the frames of each window. Those that :meth:`count` has kept are not looked up again.

        :raises CorruptError: see :meth:`count`.
        """
        if self._kept is not None:
            kept, self._kept = self._kept, None
            yield kept
        else:
            yield from map(self.located, self.windows(window))

    def windows(self, window: int) -> Iterator[dict[bytes, list[int]]]:
        """Yield block numbers by digest, for a number of blocks at a time, in the order of the disk."""
        some: dict[bytes, list[int]] = {}
        held = 0
        for block, digest in self._selected():
            some.setdefault(digest, []).append(block)
            held += 1
            if held == window:
                yield some
                some, held = {}, 0
        if some:
            yield some

    def located(self, window: dict[bytes, list[int]]) -> list[Wanted]:
        """Return a window's frames, with block numbers as their places.

        :raises CorruptError: a block is in no pack. The message begins with the disk's name and the block's byte.
        """
        try:
            locations = self._blocks.locate_many(Kind.BLOCK, list(window))
        except CorruptError:
            locations = [self._locate(digest, blocks[0]) for digest, blocks in window.items()]
        length = self.disk.shape.block_length
        return [
            Wanted(digest, location, length(blocks[0]), tuple(blocks))
            for (digest, blocks), location in zip(window.items(), locations, strict=True)
        ]

    def damage(self, block: int, error: CorruptError) -> CorruptError:
        """Return an error that names the disk and the byte at which a damaged block begins."""
        return CorruptError(f"{self._what}, byte {block * self.disk.block_size}: {error}")

    def _selected(self) -> Iterator[tuple[int, bytes]]:
        try:
            for block, digest in self.disk.blocks() if self._chosen is None else self._chosen:
                if self._select is None or self._select(digest):
                    yield block, digest
        except CorruptError as error:
            raise CorruptError(f"{self._what}, {error}") from error

    def _locate(self, digest: bytes, block: int) -> Location:
        try:
            return self._blocks.locate(Kind.BLOCK, digest)
        except CorruptError as error:
            raise self.damage(block, error) from error


class BlocksWithin:
    """The stored blocks that overlap some extents, read from the map anew each time, because they may be many."""

    def __init__(self, disk: DiskMap, extents: Sequence[Extent]) -> None:
        self._disk = disk
        self._extents = extents

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number and the digest of each block once, in order."""
        size = self._disk.block_size
        after = 0
        for extent in self._extents:
            stop = -(-extent.stop // size)
            yield from self._disk.blocks(max(extent.start // size, after), stop)
            after = stop
