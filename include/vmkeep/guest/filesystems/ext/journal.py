"""The journal of ext3 and ext4 (jbd2): finds the blocks that a mount would copy into their places.

A journal is a ring of transactions. Each has descriptor blocks, which name the places of the data blocks behind them,
blocks that revoke what earlier transactions say about a block, and a commit block at its end. A transaction without its
commit block never happened. Numbers are big-endian. The format is described in the kernel's documentation of ext4.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Final

from vmkeep.guest.crc32c import crc32c
from vmkeep.guest.filesystems.ext.journalsuper import (
    ASYNC_COMMIT,
    CHECKSUMS_V3,
    FAST_COMMIT,
    HEADER,
    MAGIC,
    SIXTY_FOUR_BIT,
    JournalError,
    JournalSuper,
    read_super,
)
from vmkeep.lateclass import dataclass

_DESCRIPTOR: Final = 1
_COMMIT: Final = 2
_REVOKE: Final = 5

_ESCAPED: Final = 0x1
_SAME_UUID: Final = 0x2
_DELETED: Final = 0x4
_LAST: Final = 0x8
_UUID: Final = 16
_CHECKSUM_OF_COMMIT: Final = slice(16, 20)
_CRC32: Final = b"\x01\x04"
"""Kind and size of a checksum of version 1 in a commit block."""
_MIRRORED: Final = bytes(int(f"{number:08b}"[::-1], 2) for number in range(256))
_FAST_COMMIT_HEAD: Final = 9
"""Tag at the head of a fast commit, in little-endian."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The newest content of a block of the file system, in the journal."""

    block: int
    """Number of the block within the journal."""
    escaped: bool
    """The first four bytes are the journal's magic number, and were blanked in the journal."""


@dataclass(slots=True)
class Replay:
    """The result of reading a journal."""

    copies: dict[int, Copy] = field(default_factory=dict)
    """By the number of a block of the file system."""
    transactions: int = 0
    notes: list[str] = field(default_factory=list)
    """Sentences about changes that could not be replayed."""


@dataclass(frozen=True, slots=True)
class _Tag:
    block: int
    flags: int
    checksum: int


@dataclass(slots=True)
class _Transaction:
    sequence: int
    copies: list[tuple[_Tag, int]] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)
    sum: int = 0xFFFFFFFF
    """Checksum of all descriptor and data blocks so far, for checksums of version 1."""


def read_journal(read: Callable[[int], bytes], *, block_size: int, blocks: int) -> Replay:
    """Find what a mount would replay.

    :param read: returns a block of the journal by its number.
    :param block_size: of the file system, in bytes.
    :param blocks: of the journal, by its inode.
    :raises JournalError: nothing of the journal can be used.
    """
    found = read_super(read(0), block_size=block_size, blocks=blocks)
    replay = Replay()
    if not found.start:
        return replay
    if found.features & ASYNC_COMMIT and not found.has_checksums:
        raise JournalError("commits asynchronously without checksums, so that nobody can tell its whole transactions")
    revoked: dict[int, int] = {}
    transactions = []
    reading = _Reading(read, found, replay)
    for transaction in reading.transactions():
        transactions.append(transaction)
        for block in transaction.revoked:
            revoked[block] = transaction.sequence
    for transaction in transactions:
        for tag, place in transaction.copies:
            if not _revoked(revoked.get(tag.block), transaction.sequence) and not tag.flags & _DELETED:
                replay.copies[tag.block] = Copy(place, bool(tag.flags & _ESCAPED))
        replay.transactions += 1
    if found.features & FAST_COMMIT and reading.has_fast_commit():
        replay.notes.append("its last changes are in fast commits, which vmkeep does not replay")
    return replay


def _revoked(by: int | None, sequence: int) -> bool:
    """Return whether a transaction, or a later one, revoked a block. Sequence numbers wrap at 32 bits."""
    return by is not None and ((by - sequence) & 0xFFFFFFFF) < 1 << 31


def _crc32_be(data: bytes, value: int) -> int:
    """Return the kernel's ``crc32_be``: zlib's CRC of the same bits in the other order."""
    mirrored = int(f"{value:032b}"[::-1], 2) ^ 0xFFFFFFFF
    return int(f"{zlib.crc32(data.translate(_MIRRORED), mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)


class _Reading:
    """One pass over a journal."""

    def __init__(self, read: Callable[[int], bytes], found: JournalSuper, replay: Replay) -> None:
        self._read = read
        self._found = found
        self._replay = replay
        self._next_sequence = found.sequence
        self._at = found.start
        self._seen = 0

    def transactions(self) -> Iterator[_Transaction]:
        """Yield the transactions that have their commit block. Stop at the first block that is of none."""
        now = _Transaction(self._next_sequence)
        while self._seen < self._found.blocks:
            block = self._take()
            magic, kind, sequence = HEADER.unpack_from(block)
            if magic != MAGIC or sequence != now.sequence:
                return
            if kind == _DESCRIPTOR:
                if not self._is_whole(block, "a descriptor block") or not self._descriptor(block, now):
                    return
            elif kind == _REVOKE:
                if not self._is_whole(block, "a revoke block"):
                    return
                now.revoked.extend(self._revocations(block))
            elif kind == _COMMIT:
                if not self._is_committed(block, now):
                    return
                yield now
                self._next_sequence = (now.sequence + 1) & 0xFFFFFFFF
                now = _Transaction(self._next_sequence)
            else:
                return

    def _take(self) -> bytes:
        block = self._read(self._at)
        self._step()
        return block

    def _step(self) -> int:
        """Go to the next block of the ring, and return the number of this one."""
        here = self._at
        self._at += 1
        if self._at >= self._found.blocks:
            self._at = self._found.first
        self._seen += 1
        return here

    def _descriptor(self, block: bytes, now: _Transaction) -> bool:
        """Take the tags of a descriptor block. Return whether its data blocks are whole."""
        if self._found.has_sums:
            now.sum = _crc32_be(block, now.sum)
        for tag in self._tags(block):
            if self._seen >= self._found.blocks:
                return False
            place = self._step()
            if self._found.has_checksums and not self._data_fits(tag, place, now.sequence):
                self._replay.notes.append(
                    f"a block of its transaction {now.sequence} has a wrong checksum, so that this and later ones are "
                    "left out"
                )
                return False
            if self._found.has_sums:
                now.sum = _crc32_be(self._read(place), now.sum)
            now.copies.append((tag, place))
        return True

    def _tags(self, block: bytes) -> Iterator[_Tag]:
        size = self._found.tag_size
        end = self._found.block_size - (4 if self._found.has_checksums else 0)
        at = HEADER.size
        while at + size <= end:
            tag = self._tag(block, at)
            yield tag
            if tag.flags & _LAST:
                return
            at += size + (0 if tag.flags & _SAME_UUID else _UUID)

    def _tag(self, block: bytes, at: int) -> _Tag:
        wide = self._found.features & SIXTY_FOUR_BIT
        if self._found.features & CHECKSUMS_V3:
            low, flags, high, checksum = struct.unpack_from(">IIII", block, at)
        else:
            low, checksum, flags = struct.unpack_from(">IHH", block, at)
            high = struct.unpack_from(">I", block, at + 8)[0] if wide else 0
        return _Tag(low | (high << 32 if wide else 0), flags, checksum)

    def _data_fits(self, tag: _Tag, place: int, sequence: int) -> bool:
        value = crc32c(struct.pack(">I", sequence), self._found.seed)
        value = crc32c(self._read(place), value)
        return value == tag.checksum if self._found.features & CHECKSUMS_V3 else value & 0xFFFF == tag.checksum

    def _is_whole(self, block: bytes, what: str) -> bool:
        if not self._found.has_checksums:
            return True
        (stored,) = struct.unpack(">I", block[-4:])
        if crc32c(block[:-4] + bytes(4), self._found.seed) == stored:
            return True
        self._replay.notes.append(f"{what} has a wrong checksum, so that its transaction and later ones are left out")
        return False

    def _is_committed(self, block: bytes, now: _Transaction) -> bool:
        (stored,) = struct.unpack(">I", block[_CHECKSUM_OF_COMMIT])
        if self._found.has_sums:
            fits = stored == now.sum and block[12:14] == _CRC32
            if fits or (not stored and block[12:14] == bytes(2)):
                return True
        elif not self._found.has_checksums:
            return True
        else:
            blank = bytearray(block)
            blank[_CHECKSUM_OF_COMMIT] = bytes(4)
            if crc32c(blank, self._found.seed) == stored:
                return True
        self._replay.notes.append(
            f"its transaction {now.sequence} has a wrong checksum, so that it and later ones are left out"
        )
        return False

    def _revocations(self, block: bytes) -> Iterator[int]:
        form, size = (">Q", 8) if self._found.features & SIXTY_FOUR_BIT else (">I", 4)
        (used,) = struct.unpack_from(">I", block, HEADER.size)
        end = min(used, len(block) - (4 if self._found.has_checksums else 0))
        for at in range(HEADER.size + 4, end - size + 1, size):
            yield struct.unpack_from(form, block, at)[0]

    def has_fast_commit(self) -> bool:
        """Return whether the area of fast commits holds some for the transaction that was not written any more.

        It begins one block behind the end of the ring.
        """
        tag, _, _, transaction = struct.unpack_from("<HHII", self._read(self._found.blocks + 1))
        return bool(tag == _FAST_COMMIT_HEAD and transaction == self._next_sequence)
