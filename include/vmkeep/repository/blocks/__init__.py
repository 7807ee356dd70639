"""Writes blocks into packs and reads them back.

The *writer* takes a block or a map page, looks its digest up, and stores it only if the repository lacks it. A few
threads store full packs in the background (``sink``), so hashing never waits for a disk. Packs are durable before an
index segment names them, so a power cut does no harm.

The *reader* takes digests, sorts them into the order of their packs, reads each pack in few large pieces, and returns
only bytes that match their digest. The memory of both is that of their buffers, whatever the size of the disk.
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
