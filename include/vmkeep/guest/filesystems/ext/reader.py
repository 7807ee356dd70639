"""Files, folders, links and attributes of ext2, ext3 and ext4 by inode numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.content import (
    FileContent,
    HeldContent,
    Run,
    extents_of,
    print_of_whole,
    prints_of_runs,
    whole,
)
from vmkeep.guest.filesystems.ext.attributes import INLINE_DATA, read_attributes
from vmkeep.guest.filesystems.ext.folders import parse_block
from vmkeep.guest.filesystems.ext.inodes import ENCRYPTED, INLINE, USES_EXTENTS, Inode, read_inode
from vmkeep.guest.filesystems.ext.mapping import Mapper
from vmkeep.guest.filesystems.ext.superblock import FILE_TYPE, Superblock
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.guest.filesystems.values import posix_name
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import Prints

_ROOT: Final = 2
_INODES: Final = 256
"""Inodes that are kept, because a caller asks several things about the same file."""
_LONGEST_LINK: Final = 1 << 16
_DOTS: Final = frozenset((b".", b".."))
_HEAD_OF_INLINE: Final = 4
"""Bytes of a folder within its inode that hold the number of its parent."""


class ExtReader:
    """A file system of the ext family; see :class:`vmkeep.guest.filesystems.tree.NodeReader`."""

    folds_case = False
    own_folders: tuple[str, ...] = ()

    def __init__(self, volume: Volume, found: Superblock) -> None:
        self.kind = found.kind
        self.warnings: list[str] = []
        self._volume = volume
        self._found = found
        self._mapper = Mapper(volume, found)
        self._inodes: Recent[int, Inode] = Recent(_INODES)

    def inode(self, number: int) -> Inode:
        """Read an inode that a folder names."""
        found = self._inodes.get(number)
        return found or self._inodes.put(number, read_inode(self._volume, self._found, number))

    def root(self) -> int:
        """Return the root's inode number."""
        return _ROOT

    def is_folder(self, node: int) -> bool:
        """Return whether an inode is a folder."""
        return self.inode(node).kind is FileKind.FOLDER

    def children(self, node: int) -> Iterator[tuple[str, int]]:
        """Yield the names in a folder with their inode numbers."""
        inode = self.inode(node)
        if inode.flags & ENCRYPTED:
            raise self._volume.refused(
                f"the names in the folder with the inode {node} are encrypted (fscrypt), and the key is not in the "
                "backup"
            )
        wide = not self._found.incompatible & FILE_TYPE
        for block in self._folder_blocks(inode):
            for name, child in parse_block(self._volume, node, block, wide_names=wide):
                if name not in _DOTS:
                    yield posix_name(name), child

    def _folder_blocks(self, inode: Inode) -> Iterator[bytes]:
        if inode.flags & INLINE:
            yield inode.area[_HEAD_OF_INLINE:]
            yield self._all_attributes(inode).get(INLINE_DATA, b"")
            return
        size = self._found.block_size
        if inode.size % size:
            raise self._volume.damaged(f"the folder with the inode {inode.number} has {inode.size} bytes")
        expected = 0
        for run in self._mapper.runs(inode):
            if run.start != expected or run.place is None:
                break
            expected = run.start + run.length
            for start in range(run.start, min(expected, inode.size), size):
                yield self._volume.read(run.place + start - run.start, size)
        if expected < inode.size:
            raise self._volume.damaged(f"a part of the folder with the inode {inode.number} is missing")

    def describe(self, path: str, node: int) -> FileEntry:
        """Return the entry of an inode."""
        inode = self.inode(node)
        kind = inode.kind
        return FileEntry(
            path=path,
            kind=kind,
            size=inode.size if kind in (FileKind.FILE, FileKind.SYMLINK) else 0,
            modified=inode.modified,
            changed=inode.changed,
            created=inode.created,
            mode=inode.mode & 0o7777,
            uid=inode.uid,
            gid=inode.gid,
            target=self._target(inode) if kind is FileKind.SYMLINK else None,
            identity=node,
            links=inode.links,
        )

    def _target(self, inode: Inode) -> str | None:
        if inode.refusal:
            return None
        if inode.size > _LONGEST_LINK:
            raise self._volume.damaged(f"the symbolic link with the inode {inode.number} has {inode.size} bytes")
        own = self._found.block_size // 512 if inode.attribute_block else 0
        if not inode.flags & (INLINE | USES_EXTENTS) and inode.sectors == own and inode.size < len(inode.area):
            return posix_name(inode.area[: inode.size])
        return posix_name(whole(self._content(inode), inode.size))

    def content(self, path: str, node: int) -> io.RawIOBase:
        """Open the content of a file.

        :raises UnsupportedError: it is encrypted.
        """
        inode = self.inode(node)
        if inode.refusal:
            raise self._volume.refused(f"{path}: {inode.refusal}")
        return self._content(inode)

    def _content(self, inode: Inode) -> io.RawIOBase:
        if inode.flags & INLINE:
            return HeldContent(self._inline(inode))
        return FileContent(self._volume, lambda offset: self._mapper.runs(inode, offset), inode.size)

    def _inline(self, inode: Inode) -> bytes:
        data = inode.area + self._all_attributes(inode).get(INLINE_DATA, b"")
        if len(data) < inode.size:
            raise self._volume.damaged(f"the inode {inode.number} holds {len(data)} of its file's {inode.size} bytes")
        return data[: inode.size]

    def extents(self, path: str, node: int) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        inode = self.inode(node)
        if inode.refusal:
            raise self._volume.refused(f"{path}: {inode.refusal}")
        if inode.flags & INLINE:
            return iter((Extent(0, inode.size),) if inode.size else ())
        return extents_of(self._mapper.runs(inode), inode.size)

    def prints(self, path: str, node: int) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        inode = self.inode(node)
        if inode.refusal:
            raise self._volume.refused(f"{path}: {inode.refusal}")
        if inode.flags & INLINE:
            return print_of_whole(inode.size, (self._inline(inode),))
        return prints_of_runs(self._volume, self._mapper.runs(inode), inode.size)

    def runs(self, inode: Inode) -> Iterator[Run]:
        """Yield the runs of an inode, for the journal."""
        return self._mapper.runs(inode)

    def attributes(self, node: int) -> dict[str, bytes]:
        """Return the extended attributes."""
        values = self._all_attributes(self.inode(node))
        values.pop(INLINE_DATA, None)
        return values

    def _all_attributes(self, inode: Inode) -> dict[str, bytes]:
        return read_attributes(self._volume, self._found, inode, self._value_of)

    def _value_of(self, number: int, size: int) -> bytes:
        inode = self.inode(number)
        if inode.size < size or inode.flags & INLINE:
            raise self._volume.damaged(f"the inode {number} holds an attribute of {size} bytes, but is shorter")
        return whole(self._content(inode), size)
