"""Chooses the small segments of the store that whoever has stored something merges into one at once.

Each run adds some small segments, and a process without a cache fetches them one by one. So they are merged as soon as
several have gathered, together with each merged one that is at most twice as large as all smaller ones. A merged
segment therefore grows by half at least before it is written again, and few segments are left, whatever their history.

This rests on sizes only, so that a run that has nothing to merge loads no numpy and asks the store nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

MANY = 8
"""Number of segments from which they are merged."""
_MOST = 128
"""Number of segments that one merge takes, the smallest first, because a backup waits for it."""
_MOST_BYTES = 8 << 20
"""Bytes of the segments that one merge takes. Larger ones are left to maintenance."""
_WORTH = 2
"""A segment is taken that is at most this many times as large as all smaller ones together."""


def gathered(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """Return the segments (key, size) that are worth merging, the smallest first; empty: too few have gathered.

    :param sizes: size of each segment's blob in bytes, by key.
    """
    below = taken = 0
    smallest = sorted(sizes.items(), key=lambda segment: segment[1])[:_MOST]
    for number, (_, size) in enumerate(smallest, 1):
        if below + size > _MOST_BYTES:
            break
        if size <= _WORTH * below:
            taken = number
        below += size
    return smallest[:taken] if taken >= MANY else []
