"""Files and folders of FAT and exFAT by the entries of their folders."""

from __future__ import annotations

import io
from collections.abc import Iterator

from vmkeep.guest.filesystems.content import FileContent, Run, extents_of, prints_of_runs
from vmkeep.guest.filesystems.fat.exfatvolume import ExfatVolume
from vmkeep.guest.filesystems.fat.fatvolume import FatVolume
from vmkeep.guest.filesystems.fat.nodes import FatNode
from vmkeep.guest.filesystems.tree import FileTree
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.prints import Prints


def open_fat(volume: Volume) -> FileTree[FatNode]:
    """Open a FAT12, FAT16 or FAT32.

    :raises CorruptError: there is none, or it contradicts itself.
    """
    return FileTree(FatReader(volume, FatVolume(volume)), volume)


def open_exfat(volume: Volume) -> FileTree[FatNode]:
    """Open an exFAT.

    :raises CorruptError: there is none, or it contradicts itself.
    """
    return FileTree(FatReader(volume, ExfatVolume(volume)), volume)


class FatReader:
    """A file system of the FAT family; see :class:`vmkeep.guest.filesystems.tree.NodeReader`."""

    folds_case = True
    own_folders: tuple[str, ...] = ()

    def __init__(self, volume: Volume, found: FatVolume | ExfatVolume) -> None:
        self.kind = found.kind
        self.warnings: list[str] = []
        if found.is_dirty:
            self.warnings.append(
                "The file system was in use, or was not unmounted: files that were being written may be incomplete."
            )
        self._volume = volume
        self._found = found

    def root(self) -> FatNode:
        """Return the root folder."""
        return self._found.root

    def is_folder(self, node: FatNode) -> bool:
        """Return whether a node is a folder."""
        return node.is_folder

    def children(self, node: FatNode) -> Iterator[tuple[str, FatNode]]:
        """Yield the names in a folder with their nodes."""
        return self._found.children(node)

    def describe(self, path: str, node: FatNode) -> FileEntry:
        """Return the entry of a node."""
        return FileEntry(
            path=path,
            kind=FileKind.FOLDER if node.is_folder else FileKind.FILE,
            size=0 if node.is_folder else node.size,
            modified=node.modified,
            created=node.created,
        )

    def content(self, path: str, node: FatNode) -> io.RawIOBase:
        """Open the content of a file."""
        return FileContent(self._volume, lambda offset: self._runs(path, node, offset), node.size)

    def _runs(self, path: str, node: FatNode, offset: int) -> Iterator[Run]:
        return (run for run in self._found.runs(node, path) if run.start + run.length > offset)

    def extents(self, path: str, node: FatNode) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        return extents_of(self._runs(path, node, 0), node.size)

    def prints(self, path: str, node: FatNode) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        return prints_of_runs(self._volume, self._runs(path, node, 0), node.size)

    def attributes(self, node: FatNode) -> dict[str, bytes]:
        """Return none, because FAT has none."""
        return {}
