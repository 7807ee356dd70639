"""Files, folders, links and attributes of XFS by inode numbers."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.guest.filesystems.content import FileContent, HeldContent, extents_of, print_of_whole, prints_of_runs
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.values import posix_name
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.guest.filesystems.xfs.attributes import AttributeReader
from vmkeep.guest.filesystems.xfs.folders import END_OF_DATA, parse_block, parse_local
from vmkeep.guest.filesystems.xfs.inodes import LOCAL, Inode, read_inode
from vmkeep.guest.filesystems.xfs.log import Log, LogError
from vmkeep.guest.filesystems.xfs.mapping import Mapper
from vmkeep.guest.filesystems.xfs.replay import replay
from vmkeep.guest.filesystems.xfs.superblock import NEEDS_REPAIR, Superblock, read_superblock
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import Prints

_INODES: Final = 256
"""Inodes that are kept, because a caller asks several things about the same file."""
_LONGEST_LINK: Final = 1024
_LINK: Final = b"XSLM"
_NOT_REPLAYED: Final = (
    "The log was not closed by an unmount, and was not replayed: it {}. Files that were written in the last seconds "
    "before the backup may be missing or old. Boot or restore the machine to see them, or mount a copy of the disk."
)
_CUT: Final = (
    "The end of the log was written only in part, as a crash leaves it, and was left out, as Linux does: files that "
    "were written in the last second before the backup may be missing or old."
)
_UNDONE: Final = (
    "{} changes in the log were begun and never done, and vmkeep does not end them: the files that they concern may be "
    "as they were before. Boot or restore the machine to see them as a mount shows them."
)
_HEADER_OF_LINK: Final = 56


def open_xfs(volume: Volume) -> FileTree[int]:
    """Open an XFS.

    :raises CorruptError: there is none, or it contradicts itself.
    :raises UnsupportedError: it has features that vmkeep cannot read.
    """
    found = read_superblock(volume)
    volume, warnings = _replayed(volume, found)
    found = read_superblock(volume)
    reader = XfsReader(volume, found)
    if found.incompatible & NEEDS_REPAIR:
        warnings.append("The file system asks for xfs_repair: files may be missing or wrong.")
    reader.warnings += warnings
    return FileTree(reader, volume)


def _replayed(volume: Volume, found: Superblock) -> tuple[Volume, list[str]]:
    """Return the volume with its log carried out, and sentences about changes that are not in it."""
    if not found.log_start:
        return volume, ["The log is on another device, and was not looked at: newer files may be missing or old."]
    log = Log(volume, found)
    said = [_CUT] if log.is_cut else []
    if log.was_unmounted:
        return volume, said
    try:
        done, undone = replay(volume, found, log)
        read_superblock(done)
    except (LogError, CorruptError) as error:
        return volume, [_NOT_REPLAYED.format(error)]
    return done, said + ([_UNDONE.format(undone)] if undone else [])


class XfsReader:
    """An XFS; see :class:`vmkeep.guest.filesystems.tree.NodeReader`."""

    kind = "xfs"
    folds_case = False
    own_folders: tuple[str, ...] = ()

    def __init__(self, volume: Volume, found: Superblock) -> None:
        self.warnings: list[str] = []
        self._volume = volume
        self._found = found
        self._mapper = Mapper(volume, found)
        self._inodes: Recent[int, Inode] = Recent(_INODES)
        self._attributes = AttributeReader(volume, found, self._mapper)

    def _inode(self, number: int) -> Inode:
        found = self._inodes.get(number)
        return found or self._inodes.put(number, read_inode(self._volume, self._found, number))

    def root(self) -> int:
        """Return the root's inode number."""
        return self._found.root

    def is_folder(self, node: int) -> bool:
        """Return whether an inode is a folder."""
        return self._inode(node).kind is FileKind.FOLDER

    def children(self, node: int) -> Iterator[tuple[str, int]]:
        """Yield the names in a folder with their inode numbers."""
        inode = self._inode(node)
        if inode.content.format == LOCAL:
            found = parse_local(self._volume, self._found, node, inode.content.room[: inode.size])
        else:
            found = self._blocks(inode)
        for name, child in found:
            yield posix_name(name), child

    def _blocks(self, inode: Inode) -> Iterator[tuple[bytes, int]]:
        """Yield the entries of a folder's blocks. A block that became empty is a hole."""
        size = self._found.folder_block
        following = 0
        for run in self._mapper.runs(inode.content):
            start = max(following, run.start // size * size)
            following = -(-(run.start + run.length) // size) * size
            for at in range(start, min(following, END_OF_DATA), size):
                yield from parse_block(
                    self._volume, self._found, inode.number, self._mapper.read(inode.content, at, size)
                )
        if following < min(inode.size, END_OF_DATA):
            raise self._volume.damaged(f"a part of the folder with the inode {inode.number} is missing")

    def describe(self, path: str, node: int) -> FileEntry:
        """Return the entry of an inode."""
        inode = self._inode(node)
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

    def _target(self, inode: Inode) -> str:
        if inode.size > _LONGEST_LINK:
            raise self._volume.damaged(f"the symbolic link with the inode {inode.number} has {inode.size} bytes")
        fork = inode.content
        if fork.format == LOCAL:
            return posix_name(fork.room[: inode.size])
        if not self._found.has_checksums:
            return posix_name(self._mapper.read(fork, 0, inode.size))
        return posix_name(b"".join(self._parts_of_target(inode)))

    def _parts_of_target(self, inode: Inode) -> Iterator[bytes]:
        """Yield the parts of a long target. Each extent begins with a header, however many blocks it has."""
        at = 0
        for run in self._mapper.runs(inode.content):
            if at == inode.size:
                break
            if run.place is None:
                raise self._volume.damaged(f"a part of the symbolic link with the inode {inode.number} is missing")
            room = run.length - _HEADER_OF_LINK
            data = self._volume.read(run.place, _HEADER_OF_LINK + min(room, inode.size - at))
            magic, offset, length = struct.unpack_from(">4sII", data)
            part = data[_HEADER_OF_LINK:]
            if (magic, offset, length) != (_LINK, at, len(part)):
                raise self._volume.damaged(f"the symbolic link with the inode {inode.number} has a wrong header")
            yield part
            at += len(part)
        if at != inode.size:
            raise self._volume.damaged(f"a part of the symbolic link with the inode {inode.number} is missing")

    def content(self, path: str, node: int) -> io.RawIOBase:
        """Open the content of a file.

        :raises UnsupportedError: it is on the real-time device.
        """
        inode = self._checked(path, node)
        if inode.content.format == LOCAL:
            return HeldContent(inode.content.room[: inode.size])
        return FileContent(self._volume, lambda offset: self._mapper.runs(inode.content, offset), inode.size)

    def _checked(self, path: str, node: int) -> Inode:
        inode = self._inode(node)
        if inode.is_realtime:
            raise self._volume.refused(f"{path}: its content is on the real-time device of this XFS")
        if inode.content.format == LOCAL and inode.size > len(inode.content.room):
            raise self._volume.damaged(f"the inode {node} holds less than its {inode.size} bytes")
        return inode

    def extents(self, path: str, node: int) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        inode = self._checked(path, node)
        if inode.content.format == LOCAL:
            return iter((Extent(0, inode.size),) if inode.size else ())
        return extents_of(self._mapper.runs(inode.content), inode.size)

    def prints(self, path: str, node: int) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        inode = self._checked(path, node)
        if inode.content.format == LOCAL:
            return print_of_whole(inode.size, (inode.content.room[: inode.size],))
        return prints_of_runs(self._volume, self._mapper.runs(inode.content), inode.size)

    def attributes(self, node: int) -> dict[str, bytes]:
        """Return the extended attributes."""
        fork = self._inode(node).attributes
        return self._attributes.read(fork) if fork is not None else {}
