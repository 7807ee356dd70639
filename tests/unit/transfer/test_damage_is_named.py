"""Damage is named by the very byte of the disk it lies on, not by a neighbour's."""

from __future__ import annotations

import random
import re

import pytest

from vmkeep.errors import CorruptError
from vmkeep.repository import Kind
from vmkeep.testing import MemoryStore
from vmkeep.transfer.writing import restore_disk

BLOCK = 65536


@pytest.mark.parametrize("damaged", [0, 3, 7])
def test_a_restore_names_the_byte_of_the_damaged_block(repository, disk, back_up, reopen, damaged):
    content = random.Random(5).randbytes(8 * BLOCK)
    root = back_up(disk(content), repository).root
    digest = repository.open_map(root).lookup(damaged)
    location = repository.open_blocks().locate(Kind.BLOCK, digest)
    store = MemoryStore()
    for blob in repository.blobs.list(""):
        data = bytearray(repository.blobs.get(blob.key))
        if blob.key.endswith(location.pack.hex()):
            data[location.offset + location.length // 2] ^= 1
        store.put(blob.key, bytes(data))
    target = disk(bytes(len(content)))

    with pytest.raises(CorruptError) as caught:
        restore_disk(
            reopen(store),
            root,
            target,
            fresh=True,
            on_progress=lambda _: None,
            check=lambda: None,
            what="point p: disk",
        )

    assert re.match(rf"point p: disk, byte {damaged * BLOCK}: pack ", str(caught.value))
    assert target.content[damaged * BLOCK : (damaged + 1) * BLOCK] == bytes(BLOCK), "a damaged block was written"
