"""Extended attributes of XFS: within an inode, or in a tree whose leaves are chained."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.values import collected, posix_acl, posix_name
from vmkeep.guest.filesystems.volume import MOST_AT_ONCE, Volume
from vmkeep.guest.filesystems.xfs.inodes import LOCAL, Fork
from vmkeep.guest.filesystems.xfs.mapping import Mapper
from vmkeep.guest.filesystems.xfs.superblock import Superblock

_NODES: Final = frozenset((0xFEBE, 0x3EBE))
_LEAVES: Final = frozenset((0xFBEE, 0x3BEE))
_REMOTE: Final = b"XARM"
_HEADER_OF_REMOTE: Final = 56
_IS_LOCAL: Final = 0x1
_ROOT: Final = 0x2
_SECURE: Final = 0x4
_PARENT: Final = 0x8
_INCOMPLETE: Final = 0x80
_MOST_LEAVES: Final = 1 << 16
_DEEPEST: Final = 8
_ACLS: Final = {
    "trusted.SGI_ACL_FILE": "system.posix_acl_access",
    "trusted.SGI_ACL_DEFAULT": "system.posix_acl_default",
}
_WITH_ID: Final = frozenset((0x02, 0x08))
_LARGEST_TAG: Final = 0xFFFF


class AttributeReader:
    """Reads the extended attributes of one file system."""

    def __init__(self, volume: Volume, found: Superblock, mapper: Mapper) -> None:
        self._volume = volume
        self._found = found
        self._mapper = mapper

    def read(self, fork: Fork) -> dict[str, bytes]:
        """Return the attributes by their names, with their prefixes.

        :raises CorruptError: they contradict themselves.
        :raises UnsupportedError: they are too large for the memory.
        """
        return collected(self._volume, f"the inode {fork.owner}", self._named(fork))

    def _named(self, fork: Fork) -> Iterator[tuple[str, bytes]]:
        found = self._local(fork) if fork.format == LOCAL else self._blocks(fork) if fork.extents else iter(())
        for flags, name, value in found:
            if flags & (_PARENT | _INCOMPLETE):
                continue
            prefix = "trusted." if flags & _ROOT else "security." if flags & _SECURE else "user."
            full = prefix + posix_name(name)
            yield _ACLS.get(full, full), self._acl(fork, value) if full in _ACLS else value

    def _local(self, fork: Fork) -> Iterator[tuple[int, bytes, bytes]]:
        if len(fork.room) < 4:
            raise self._wrong(fork)
        size, count = struct.unpack_from(">HB", fork.room)
        at = 4
        for _ in range(count):
            if at + 3 > min(size, len(fork.room)):
                raise self._wrong(fork)
            name_length, value_length, flags = fork.room[at : at + 3]
            middle = at + 3 + name_length
            stop = middle + value_length
            if stop > len(fork.room):
                raise self._wrong(fork)
            yield flags, fork.room[at + 3 : middle], fork.room[middle:stop]
            at = stop

    def _blocks(self, fork: Fork) -> Iterator[tuple[int, bytes, bytes]]:
        size = self._found.block_size
        number = self._first_leaf(fork)
        for _ in range(_MOST_LEAVES):
            block = self._mapper.read(fork, number * size, size)
            forward, _, magic = struct.unpack_from(">IIH", block)
            if magic not in _LEAVES:
                raise self._wrong(fork)
            yield from self._leaf(fork, block)
            if not forward:
                return
            number = forward
        raise self._wrong(fork)

    def _first_leaf(self, fork: Fork) -> int:
        number = 0
        size = self._found.block_size
        for _ in range(_DEEPEST):
            block = self._mapper.read(fork, number * size, size)
            if struct.unpack_from(">H", block, 8)[0] not in _NODES:
                return number
            header = 64 if self._found.has_checksums else 16
            (number,) = struct.unpack_from(">I", block, header + 4)
        raise self._wrong(fork)

    def _leaf(self, fork: Fork, block: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        head, entries = (56, 80) if self._found.has_checksums else (12, 32)
        (count,) = struct.unpack_from(">H", block, head)
        if entries + count * 8 > len(block):
            raise self._wrong(fork)
        for at in range(entries, entries + count * 8, 8):
            _, place, flags = struct.unpack_from(">IHB", block, at)
            if place + 9 > len(block):
                raise self._wrong(fork)
            if flags & _IS_LOCAL:
                length, name_length = struct.unpack_from(">HB", block, place)
                start = place + 3
                value = block[start + name_length : start + name_length + length]
            else:
                first, length, name_length = struct.unpack_from(">IIB", block, place)
                start = place + 9
                value = b"" if flags & _INCOMPLETE else self._remote(fork, first, length)
            name = block[start : start + name_length]
            if len(name) < name_length or (len(value) < length and not flags & _INCOMPLETE):
                raise self._wrong(fork)
            yield flags, name, value

    def _remote(self, fork: Fork, first: int, length: int) -> bytes:
        if length > MOST_AT_ONCE:
            raise self._wrong(fork)
        size = self._found.block_size
        if not self._found.has_checksums:
            return self._mapper.read(fork, first * size, length)
        blocks = -(-length // (size - _HEADER_OF_REMOTE))
        data = self._mapper.read(fork, first * size, blocks * size)
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        if any(part[:4] != _REMOTE for part in parts):
            raise self._wrong(fork)
        return b"".join(part[_HEADER_OF_REMOTE:] for part in parts)[:length]

    def _acl(self, fork: Fork, value: bytes) -> bytes:
        """Turn an access control list into the form that programs get from Linux."""
        count = int.from_bytes(value[:4], "big")
        if len(value) < 4 + count * 12:
            raise self._wrong(fork)
        entries = list(struct.iter_unpack(">IIHxx", value[4 : 4 + count * 12]))
        if any(tag > _LARGEST_TAG for tag, _, _ in entries):
            raise self._wrong(fork)
        return posix_acl((tag, perm, of if tag in _WITH_ID else None) for tag, of, perm in entries)

    def _wrong(self, fork: Fork) -> Exception:
        return self._volume.damaged(f"the attributes of the inode {fork.owner} contradict themselves")
