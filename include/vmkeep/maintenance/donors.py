"""Donors: another repository gives back content that this one has lost.

A donor is asked for a frame by its digest *here*, and by its place in the map that needs it. What it gives is
digested with our keys before it is believed.
"""

from __future__ import annotations

from typing import Protocol

from vmkeep.errors import CorruptError
from vmkeep.repository import ZERO, BlockReader, DiskMap, Kind, ReadBuffers, Repository, Wanted
from vmkeep.repository.frames import Digester
from vmkeep.repository.maps import FAN_OUT, PAGE_SIZE, ROOT_SIZE, encode_root


class Donor(Protocol):
    """Gives the content of lost frames of one map."""

    def root(self, digest: bytes) -> bytes | None:
        """Return the map's root page."""

    def page(self, digest: bytes, level: int, index: int) -> bytes | None:
        """Return page ``index`` of a level, if it is the one of that digest."""

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Return a block, if it is the one of that digest."""


class NoDonor:
    """There is nobody to ask."""

    def root(self, digest: bytes) -> bytes | None:
        """Nothing."""

    def page(self, digest: bytes, level: int, index: int) -> bytes | None:
        """Nothing."""

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Nothing."""


class SameDonor:
    """A repository in which equal content has the same digest; it need not have the same points."""

    def __init__(self, source: Repository) -> None:
        self._blocks = source.open_blocks()

    def root(self, digest: bytes) -> bytes | None:
        """Return a map's root page, found by its digest."""
        return read_frame(self._blocks, Kind.PAGE, digest, ROOT_SIZE)

    def page(self, digest: bytes, level: int, index: int) -> bytes | None:
        """Return a page, found by its digest."""
        return read_frame(self._blocks, Kind.PAGE, digest, PAGE_SIZE)

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Return a block, found by its digest."""
        return read_frame(self._blocks, Kind.BLOCK, digest, length)


class TwinDonor:
    """The same disk in a repository of other keys: its digests say nothing here, but places are the same.

    A page is made again from all blocks below it: for one of level 1 that is 16 MiB to be read (at 256 KiB a block),
    for one of level 2 1 GiB, for a root the whole disk.
    """

    def __init__(self, source: Repository, root: str, digester: Digester) -> None:
        """Open the map there.

        :param digester: ours.
        :raises CorruptError: it is damaged there too.
        """
        self._blocks = source.open_blocks()
        self._disk: DiskMap = source.open_map(root)
        self._digester = digester

    def root(self, digest: bytes) -> bytes | None:
        """Return our map's root page, made from the whole disk."""
        shape = self._disk.shape
        top = self._digest_of(shape.levels, 0)
        return self._if_right(Kind.PAGE, digest, None if top is None else encode_root(shape, top))

    def page(self, digest: bytes, level: int, index: int) -> bytes | None:
        """Return one of our pages, made from the blocks below it."""
        return self._if_right(Kind.PAGE, digest, self._page(level, index))

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Return the block at that place, if it is the one of that digest."""
        return self._if_right(Kind.BLOCK, digest, self._block(index))

    def _if_right(self, kind: Kind, digest: bytes, content: bytes | None) -> bytes | None:
        if content is None or self._digester.of(kind, content) != digest:
            return None
        return content

    def _block(self, index: int) -> bytes | None:
        try:
            digest = self._disk.lookup(index)
        except CorruptError:
            return None
        return None if digest == ZERO else read_frame(
            self._blocks, Kind.BLOCK, digest, self._disk.shape.block_length(index)
        )  # fmt: skip

    def _page(self, level: int, index: int) -> bytes | None:
        digests = [self._digest_of(level - 1, index * FAN_OUT + row) for row in range(FAN_OUT)]
        known = [digest for digest in digests if digest is not None]
        return b"".join(known) if len(known) == FAN_OUT else None

    def _digest_of(self, level: int, index: int) -> bytes | None:
        """Return our digest of a block or page there; ``None``: it cannot be read there either."""
        try:
            if self._disk.subtree(level, index) == ZERO:
                return ZERO
        except CorruptError:
            return None
        content = self._block(index) if level == 0 else self._page(level, index)
        return None if content is None else self._digester.of(Kind.PAGE if level else Kind.BLOCK, content)


def read_frame(blocks: BlockReader, kind: Kind, digest: bytes, length: int) -> bytes | None:
    """Return one frame's content, or ``None`` if it is not there, or damaged."""
    try:
        wanted = [Wanted(digest, blocks.locate(kind, digest), length, ())]
        for batch in blocks.plan(wanted):
            for _, content in blocks.read(batch, ReadBuffers()):
                return bytes(content)
    except CorruptError:
        pass
    return None
