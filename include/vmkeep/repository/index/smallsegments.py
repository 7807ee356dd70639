"""Encodes segments of few entries without numpy, because loading numpy takes longer than a small backup.

The result is byte for byte that of :mod:`columns`, which is used for more entries than a copy leaves between two
flushes.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from vmkeep.repository.frames import DIGEST_SIZE, PackContents
from vmkeep.repository.index.filters import BITS, OWN, scale_of, words_for
from vmkeep.repository.index.layout import HEADER, MAGIC, PACK_ROW, PREFIX_SIZE

_FEW = 16384
"""Up to this many entries, this module is faster than loading numpy."""


def segment_of(packs: Sequence[PackContents]) -> bytes:
    """Return the content of the segment that lists the frames of some packs."""
    if sum(pack.count for pack in packs) <= _FEW:
        return encode_few(packs)
    from vmkeep.repository.index.columns import columns_of, encode

    return encode(columns_of(packs))


def encode_few(packs: Sequence[PackContents]) -> bytes:
    """Return the same content as :func:`segment_of`, built entry by entry."""
    digests = b"".join(pack.digests for pack in packs)
    count = len(digests) // DIGEST_SIZE
    entries = [digests[at * DIGEST_SIZE : (at + 1) * DIGEST_SIZE] for at in range(count)]
    order = sorted(range(count), key=lambda at: entries[at][:PREFIX_SIZE])
    prefixes = array("Q", (int.from_bytes(entries[at][:PREFIX_SIZE], "big") for at in order))
    words = words_for(count)
    numbers = array("I", (number for number, pack in enumerate(packs) for _ in range(pack.count)))
    offsets = array("I", (offset for pack in packs for offset in pack.offsets))
    lengths = array("I", (length for pack in packs for length in pack.lengths))
    return b"".join((
        HEADER.pack(MAGIC, count, words, len(packs), OWN),
        _filter(prefixes, words).tobytes(),
        prefixes.tobytes(),
        b"".join(entries[at][PREFIX_SIZE:] for at in order),
        b"".join(PACK_ROW.pack(pack.pack_id, pack.kind, 0) for pack in packs),
        *(array("I", (column[at] for at in order)).tobytes() for column in (numbers, offsets, lengths)),
    ))  # fmt: skip


def _filter(prefixes: array[int], words: int) -> array[int]:
    result = array("Q", bytes(8 * words))
    base, shift, width = scale_of(OWN, prefixes[0], prefixes[-1]) if prefixes else (0, 0, 1)
    for prefix in prefixes:
        result[(prefix - base >> shift) * words // width] |= BITS[prefix & 4095] | BITS[prefix >> 12 & 4095]
    return result
