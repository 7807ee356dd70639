"""Repositories in memory and disks that are stored in them, for tests of reading."""

from __future__ import annotations

from vmkeep.repository import Kind, Repository
from vmkeep.repository.unlock import descriptor
from vmkeep.testing import MemoryStore

BLOCK = 65536


class CountingStore(MemoryStore):
    """Counts the bytes that are read."""

    def __init__(self):
        super().__init__()
        self.fetched = 0

    def get_into(self, key, offset, buffer):
        count = super().get_into(key, offset, buffer)
        self.fetched += count
        return count


def new_repository(store=None):
    store = MemoryStore() if store is None else store
    descriptor.create(store, descriptor.new_descriptor(block_size=BLOCK, compression="zstd"))
    return Repository(store, descriptor.load(store))


def damaged(repository, root, block):
    """Return a copy of a repository's blobs in which one block of a disk is damaged."""
    location = repository.open_blocks().locate(Kind.BLOCK, repository.open_map(root).lookup(block))
    store = MemoryStore()
    for blob in repository.blobs.list(""):
        data = bytearray(repository.blobs.get(blob.key))
        if blob.key.endswith(location.pack.hex()):
            data[location.offset + location.length // 2] ^= 1
        store.put(blob.key, bytes(data))
    return store


def content_of(blocks, end=BLOCK):
    """Return a disk: block n is filled with value ``blocks[n]``, 0 is a hole. The last block has ``end`` bytes."""
    parts = [bytes([value]) * BLOCK for value in blocks]
    parts[-1] = parts[-1][:end]
    return b"".join(parts)
