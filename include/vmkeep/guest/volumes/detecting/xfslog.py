"""Tells whether the journal of an XFS ends with the record of an unmount, in some twenty small reads.

The journal is a ring of blocks of 512 bytes, each of which tells in which round it was written. The end is where the
number of the round drops. If the last record before it says that the file system was unmounted, nothing is to be
replayed. The layout is that of the kernel's ``fs/xfs/libxfs/xfs_log_format.h``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from vmkeep.guest.volumes.detecting.content import READY, REPLAY, Head

_BLOCK: Final = 512
_RECORD: Final = 0xFEEDBABE
_RECORD_HEAD: Final = 324
_LONGEST: Final = (256 << 10) + (8 << 10)
"""Bytes of the longest record, with its heads."""
_UNMOUNT: Final = 0x20
_CYCLE_SIZE: Final = 32 << 10
"""Bytes of a record for which one block of its head has room to keep their first words."""


@dataclass(frozen=True, slots=True)
class _Ring:
    """The journal of an XFS."""

    head: Head
    start: int
    """Its first byte in the volume."""
    blocks: int

    def round_of(self, block: int) -> int:
        """Return in which round a block was written; 0: never."""
        first, second = self.head.numbers(">II", self.start + block * _BLOCK)
        return int(second if first == _RECORD else first)

    def end(self) -> int:
        """Return the block after the last one that was written."""
        first, last = self.round_of(0), self.round_of(self.blocks - 1)
        if first == last:
            return self.blocks
        low, high = 0, self.blocks - 1  # the first is of the newer round, the last one of the older
        while high - low > 1:
            middle = (low + high) // 2
            if self.round_of(middle) == last:
                high = middle
            else:
                low = middle
        return high

    def before(self, end: int) -> tuple[int, bytes] | None:
        """Return the last record that begins before a block: its first block, and the head of it."""
        for length in (8 * _BLOCK, _LONGEST):
            start = max(0, end - length // _BLOCK)
            content = self.head.at(self.start + start * _BLOCK, (end - start) * _BLOCK)
            for at in range(len(content) - len(content) % _BLOCK - _BLOCK, -1, -_BLOCK):
                if content[at : at + 4] == b"\xfe\xed\xba\xbe":
                    return start + at // _BLOCK, content[at : at + _BLOCK]
        return None


def journal_state(head: Head) -> str:
    """Return the state of the journal of an XFS. Doubt counts as a journal that needs replay."""
    ring = _find(head)
    if ring is None:
        return "its journal is on another volume"
    if ring.blocks < 2 or ring.start + ring.blocks * _BLOCK > head.size:
        return REPLAY
    end = ring.end()
    found = ring.before(end)
    if found is None:
        return READY if end == ring.blocks and ring.round_of(0) == 0 else REPLAY  # never written
    block, record = found
    version, length = struct.unpack_from(">II", record, 8)
    (operations,) = struct.unpack_from(">I", record, 40)
    (size,) = struct.unpack_from(">I", record, _RECORD_HEAD - 4)
    heads = max(1, -(-size // _CYCLE_SIZE)) if version & 2 else 1
    data = block + heads
    if operations != 1 or data + -(-length // _BLOCK) != end:
        return REPLAY
    flags = head.number("B", ring.start + data * _BLOCK + 9)
    return READY if flags & _UNMOUNT else REPLAY


def _find(head: Head) -> _Ring | None:
    """Return the journal; ``None``: it is not in this volume."""
    block, start, blocks = head.number(">I", 4), head.number(">Q", 48), head.number(">I", 96)
    if not start:
        return None
    group_blocks, group_bits = head.number(">I", 84), min(head.number("B", 124), 32)
    group, within = start >> group_bits, start & ((1 << group_bits) - 1)
    return _Ring(head, (group * group_blocks + within) * block, blocks * block // _BLOCK)
