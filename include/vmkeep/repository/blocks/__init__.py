"""Blocks in and out of packs.

The *writer* takes a block or a map page, looks its digest up, and stores it only if the repository lacks it. Full
packs are stored by a few threads behind it (``sink``), so hashing never waits for a disk. Packs are durable before an
index segment names them: that order makes a power cut harmless.

The *reader* takes digests, sorts them into the order of their packs, reads each pack in few large pieces, and hands
out only bytes that hash to the digest that was asked. Memory of both is bounded by their buffers, whatever the size
of the disk.
"""

from vmkeep.repository.blocks.reader import Batch, BlockReader, ReadBuffers, Wanted
from vmkeep.repository.blocks.writer import BlockWriter

__all__ = [
    "Batch",
    "BlockReader",
    "BlockWriter",
    "ReadBuffers",
    "Wanted",
]
