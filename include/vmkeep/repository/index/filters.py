"""The layout of an index segment's filter: the word of a prefix, and the bits of it.

By rule 1 the words belong to equal ranges of the prefixes between the segment's first and last; by rule 0, which is
read and not written any more, to equal ranges of all there can be. Knows nothing of segments, and sets no bit itself.
"""

from __future__ import annotations

from typing import NamedTuple

ALL, OWN = 0, 1
"""Filter rules: what range the words are for, all prefixes or the segment's own."""
_ENTRIES_PER_WORD = 4
_BIT = tuple(1 << number for number in range(64))
BITS = tuple(high | low for high in _BIT for low in _BIT)
"""The two bits of a filter word that 12 bits of a prefix choose. A table look-up takes a third of the time of
shifting."""


class Scale(NamedTuple):
    """The layout of a filter: a prefix belongs to word ``(prefix - base >> shift) * words // width``.

    ``prefix - base >> shift`` is less than ``width``, which is at most 2³², so no value exceeds 64 bits.
    """

    base: int
    shift: int
    width: int


def scale_of(rule: int, first: int, last: int) -> Scale:
    """Return the layout that a rule gives to the filter of a segment.

    :param first: the lowest prefix.
    :param last: the highest one.
    """
    if rule == ALL:
        first, last = 0, (1 << 64) - 1
    span = max(0, last - first)  # a damaged segment may not be sorted
    shift = max(0, span.bit_length() - 32)
    return Scale(first, shift, (span >> shift) + 1)


def words_for(entries: int) -> int:
    """Return the number of filter words for this many entries: 16 bits for each entry."""
    return max(1, -(-entries // _ENTRIES_PER_WORD))
