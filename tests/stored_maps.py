"""Pages of a map, found one by one, because no code of the product needs all of them."""

from __future__ import annotations

from collections.abc import Iterator

from vmkeep.repository.frames.digests import ZERO
from vmkeep.repository.maps.maps import FAN_OUT, DiskMap


def page_digests(disk: DiskMap) -> Iterator[bytes]:
    """Yield the digest of every stored page except the root."""
    if disk.top == ZERO:
        return
    for level in range(1, disk.shape.levels + 1):
        for index in range(-(-disk.shape.blocks // FAN_OUT**level)):
            if (digest := disk.subtree(level, index)) != ZERO:
                yield digest
