"""Donors: repositories that give back content which this one has lost.

A donor is asked for a frame by its digest *in this repository*, and by its place in the map that needs it. The donor's
answer is used only after a digest with our own keys has confirmed it.
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
        """Return page ``index`` of a level, if the donor has one with that digest."""

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Return block ``index``, if the donor has one with that digest."""


class NoDonor:
    """Stands in when there is no repository to ask."""

    def root(self, digest: bytes) -> bytes | None:
        """Return nothing."""

    def page(self, digest: bytes, level: int, index: int) -> bytes | None:
        """Return nothing."""

    def block(self, digest: bytes, index: int, length: int) -> bytes | None:
        """Return nothing."""


class SameDonor:
    """A repository in which equal content has the same digest. It may have other points."""

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
    """The same disk in a repository with other keys.

    Its digests mean nothing here, but each block is at the same place in the map. A page is made again from all blocks
    below it. At 256 KiB a block, that means reading 16 MiB for a page of level 1, 1 GiB for a page of level 2, and the
    whole disk for a root.
    """

    def __init__(self, source: Repository, root: str, digester: Digester) -> None:
        """Open the disk's map in the source repository.

        :param digester: the digester of the damaged repository.
        :raises CorruptError: the map is damaged in the source as well.
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
        """Return the block at that place, if it has that digest."""
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
        """Return our digest of a block or page of the source; ``None`` if the source cannot read it either."""
        try:
            if self._disk.subtree(level, index) == ZERO:
                return ZERO
        except CorruptError:
            return None
        content = self._block(index) if level == 0 else self._page(level, index)
        return None if content is None else self._digester.of(Kind.PAGE if level else Kind.BLOCK, content)


def read_frame(blocks: BlockReader, kind: Kind, digest: bytes, length: int) -> bytes | None:
    """Return one frame's content; ``None`` if the frame is missing or damaged."""
    try:
        wanted = [Wanted(digest, blocks.locate(kind, digest), length, ())]
        for batch in blocks.plan(wanted):
            for _, content in blocks.read(batch, ReadBuffers()):
                return bytes(content)
    except CorruptError:
        pass
    return None
