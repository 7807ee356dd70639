"""Files, folders, links and attributes of btrfs by trees and inode numbers."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Final

from vmkeep.guest.filesystems.btrfs import items
from vmkeep.guest.filesystems.btrfs.chunks import SIZE, Chunks
from vmkeep.guest.filesystems.btrfs.content import LARGEST_UNIT, BtrfsContent
from vmkeep.guest.filesystems.btrfs.datasums import CheckedData
from vmkeep.guest.filesystems.btrfs.items import ExtentItem, Inode
from vmkeep.guest.filesystems.btrfs.nodes import Root, Trees
from vmkeep.guest.filesystems.btrfs.superblock import Superblock, read_superblock
from vmkeep.guest.filesystems.content import Run, extents_of, print_of_whole, prints_of_runs, whole
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.values import collected, posix_name
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import UNKNOWN, Prints

_TOP: Final = 5
_SUMS: Final = 7
"""Number of the tree with the checksums of contents."""
_ROOT_FOLDER: Final = 256
_EMPTY: Final = 2
"""Inode number of the empty folder that a snapshot holds in the place of a subvolume."""
_KEY: Final = struct.Struct("<QBQ")
_LONGEST_LINK: Final = 4096


@dataclass(frozen=True, slots=True)
class BtrfsNode:
    """An inode of a subvolume."""

    tree: int
    inode: int


def open_btrfs(volume: Volume) -> FileTree[BtrfsNode]:
    """Open a btrfs.

    :raises CorruptError: there is none, or it contradicts itself.
    :raises UnsupportedError: it is on several devices, or has features that vmkeep cannot read.
    """
    found = read_superblock(volume)
    chunks = Chunks(volume, found.device)
    at = 0
    array = found.system_chunks
    while at + _KEY.size + SIZE <= len(array):
        logical = _KEY.unpack_from(array, at)[2]
        at += _KEY.size + chunks.add(logical, array[at + _KEY.size :])
    trees = Trees(volume, found, chunks)
    top = Root(found.chunk_root, found.chunk_level)
    for key, data in list(trees.items(top, (0, items.CHUNK, 0), (items.LARGEST, items.CHUNK, items.LARGEST))):
        if key[1] == items.CHUNK:
            chunks.add(key[2], data)
    return FileTree(BtrfsReader(volume, found, chunks, trees), volume)


class BtrfsReader:
    """A btrfs; see :class:`vmkeep.guest.filesystems.tree.NodeReader`."""

    kind = "btrfs"
    folds_case = False
    own_folders: tuple[str, ...] = ()

    def __init__(self, volume: Volume, found: Superblock, chunks: Chunks, trees: Trees) -> None:
        self.warnings: list[str] = []
        if found.log_root:
            self.warnings.append(
                "The log of btrfs was not replayed: files that were flushed in the last seconds before the backup may "
                "be missing or old. Boot or restore the machine to see them."
            )
        self._volume = volume
        self._found = found
        self._chunks = chunks
        self._trees = trees
        self._roots: dict[int, Root] = {}
        self._checked: CheckedData | None = None

    def _root(self, tree: int) -> Root:
        known = self._roots.get(tree)
        if known is None:
            top = Root(self._found.root, self._found.root_level)
            first, last = (tree, items.ROOT, 0), (tree, items.ROOT, items.LARGEST)
            raw = next((data for _, data in self._trees.items(top, first, last)), b"")
            known = items.parse_root(raw)
            if known is None:
                raise self._volume.damaged(f"there is no subvolume {tree}, but a folder names it")
            self._roots[tree] = known
        return known

    def _inode(self, node: BtrfsNode) -> Inode:
        raw = self._trees.item(self._root(node.tree), (node.inode, items.INODE, 0))
        if raw is None or len(raw) < 160:
            raise self._volume.damaged(f"there is no inode {node.inode} in the subvolume {node.tree}")
        return Inode(raw)

    def _items(self, node: BtrfsNode, kind: int, first: int = 0) -> Iterator[tuple[int, bytes]]:
        keys = (node.inode, kind, first), (node.inode, kind, items.LARGEST)
        return ((key[2], data) for key, data in self._trees.items(self._root(node.tree), *keys))

    def root(self) -> BtrfsNode:
        """Return the root folder of the topmost subvolume."""
        return BtrfsNode(_TOP, _ROOT_FOLDER)

    def is_folder(self, node: BtrfsNode) -> bool:
        """Return whether a node is a folder."""
        return node.inode == _EMPTY or self._inode(node).kind is FileKind.FOLDER

    def children(self, node: BtrfsNode) -> Iterator[tuple[str, BtrfsNode]]:
        """Yield the names in a folder with their nodes."""
        if node.inode == _EMPTY:
            return
        for _, data in self._items(node, items.FOLDER_INDEX):
            for target, name, _ in self._entries(node, data):
                yield posix_name(name), self._follow(node, target, name)

    def _entries(self, node: BtrfsNode, data: bytes) -> list[tuple[tuple[int, int, int], bytes, bytes]]:
        try:
            return list(items.parse_entries(data))
        except ValueError as error:
            raise self._volume.damaged(f"the inode {node.inode} of the subvolume {node.tree}: {error}") from error

    def _follow(self, folder: BtrfsNode, target: tuple[int, int, int], name: bytes) -> BtrfsNode:
        """Return the node that an entry names. A subvolume lies only where the tree of roots says so."""
        number, kind, _ = target
        if kind != items.ROOT:
            return BtrfsNode(folder.tree, number)
        top = Root(self._found.root, self._found.root_level)
        back = self._trees.item(top, (number, items.ROOT_BACK_REFERENCE, folder.tree))
        if back is None or len(back) < 18 or struct.unpack_from("<Q", back)[0] != folder.inode or back[18:] != name:
            return BtrfsNode(number, _EMPTY)
        return BtrfsNode(number, _ROOT_FOLDER)

    def describe(self, path: str, node: BtrfsNode) -> FileEntry:
        """Return the entry of an inode."""
        if node.inode == _EMPTY:
            return FileEntry(path=path, kind=FileKind.FOLDER, size=0, modified=None, mode=0o755, uid=0, gid=0)
        inode = self._inode(node)
        kind = inode.kind
        links, uid, gid, mode = inode.owner
        changed, modified, created = inode.times
        return FileEntry(
            path=path,
            kind=kind,
            size=inode.size if kind in (FileKind.FILE, FileKind.SYMLINK) else 0,
            modified=modified,
            changed=changed,
            created=created,
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            target=self._target(path, node, inode) if kind is FileKind.SYMLINK else None,
            identity=node.tree << 64 | node.inode,
            links=links,
        )

    def _target(self, path: str, node: BtrfsNode, inode: Inode) -> str:
        if inode.size > _LONGEST_LINK:
            raise self._volume.damaged(f"{path}: the symbolic link has {inode.size} bytes")
        return posix_name(whole(self.content(path, node), inode.size))

    def content(self, path: str, node: BtrfsNode) -> io.RawIOBase:
        """Open the content of a file."""
        inode = self._inode(node)
        return BtrfsContent(
            self._volume,
            self._chunks,
            lambda offset: self._extents(path, node, offset),
            checked=self._checked_data() if inode.has_sums else None,
            size=inode.size,
            sector=self._found.sector,
            path=path,
        )

    def _checked_data(self) -> CheckedData:
        if self._checked is None:
            self._checked = CheckedData(self._volume, self._found, self._chunks, self._trees, self._root(_SUMS))
        return self._checked

    def _extents(self, path: str, node: BtrfsNode, offset: int) -> Iterator[ExtentItem]:
        """Yield the extents of a file in order, from the one that holds a byte on."""
        key = self._trees.floor(self._root(node.tree), (node.inode, items.EXTENT, offset))
        first = key[2] if key is not None and key[:2] == (node.inode, items.EXTENT) else 0
        at = 0
        for start, data in self._items(node, items.EXTENT, first):
            extent = items.parse_extent(start, data)
            if extent is None or start < at or not extent.length:
                raise self._volume.damaged(f"{path}: the extent at byte {start} contradicts itself or its forerunner")
            at = start + extent.length
            yield extent

    def extents(self, path: str, node: BtrfsNode) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        runs = (
            Run(each.start, each.length, each.logical)
            for each in self._extents(path, node, 0)
            if each.inline is not None or each.logical
        )
        return extents_of(runs, self._inode(node).size)

    def prints(self, path: str, node: BtrfsNode) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        size = self._inode(node).size
        if any(map(self._is_read_to_tell, self._extents(path, node, 0))):
            return iter(((Extent(0, size), UNKNOWN),) if size else ())
        found = self._extents(path, node, 0)
        if any(each.inline is not None or each.compression or each.encryption for each in found):
            stored = (
                Run(each.logical, each.stored, self._place(each.logical, each.stored))
                for each in self._extents(path, node, 0)
                if each.logical
            )
            prints = prints_of_runs(self._volume, stored, items.LARGEST)
            return print_of_whole(size, self._extents(path, node, 0), prints)
        runs = (
            Run(each.start, each.length, self._place(each.logical + each.offset, each.length))
            for each in self._extents(path, node, 0)
            if each.logical
        )
        return prints_of_runs(self._volume, runs, size)

    def _is_read_to_tell(self, each: ExtentItem) -> bool:
        """Return whether only reading tells the bytes of an extent: which of two copies is right, or its size."""
        if each.inline is not None or not each.logical:
            return False
        if each.compression and max(each.stored, each.unpacked) > LARGEST_UNIT:
            return True
        return len(self._chunks.places(each.logical + each.offset * (not each.compression), 1)) > 1

    def _place(self, logical: int, length: int) -> int:
        return self._chunks.places(logical, length)[0]

    def attributes(self, node: BtrfsNode) -> dict[str, bytes]:
        """Return the extended attributes."""
        if node.inode == _EMPTY:
            return {}
        pairs = (
            (posix_name(name), value)
            for _, data in self._items(node, items.XATTR)
            for _, name, value in self._entries(node, data)
        )
        return collected(self._volume, f"the inode {node.inode}", pairs)
