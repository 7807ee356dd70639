"""Paths over the nodes of a file system, whatever kind it has.

Each kind brings a :class:`NodeReader`: it knows folders, files and attributes by *nodes*, e.g. inode numbers. The tree
makes paths of them, and refuses what a stranger may have built to trap a program that walks through it: a name with a
slash, a folder within itself, a folder with two names, and a name that occurs twice in a folder.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.guest.filesystems.recent import Recent
from vmkeep.guest.filesystems.volume import Volume
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind, OnBadEntry
from vmkeep.model.prints import Prints

N = TypeVar("N")

_RECENT: Final = 1 << 12
"""Paths whose nodes are remembered, because a caller asks about an entry right after it was listed."""
_FOLDERS_IN_MEMORY: Final = 8
_NAMES_IN_MEMORY: Final = 1 << 18
"""Most names of a folder that are kept for the next look-up; a larger folder is searched each time."""
_FOLDERS_WATCHED: Final = 1 << 20
"""Number of folders of which the tree knows whether they have a second name."""
_NAMES_WATCHED: Final = 1 << 20
"""Names of one folder among which one that occurs twice is found."""
_UNSAFE: Final = frozenset(("", ".", ".."))


class NodeReader(Protocol[N]):
    """One kind of file system. Nodes are small values that can be compared and hashed."""

    kind: str
    warnings: list[str]
    folds_case: bool
    """Names that differ only in small and capital letters are the same name, as in Windows."""
    own_folders: tuple[str, ...]
    """Names of folders in the root that hold the file system's own files. The root's listing leaves them out."""

    def root(self) -> N:
        """Return the node of the root folder."""

    def is_folder(self, node: N) -> bool:
        """Return whether a node is a folder."""

    def children(self, node: N) -> Iterator[tuple[str, N]]:
        """Yield the names in a folder with their nodes, without itself and its parent."""

    def describe(self, path: str, node: N) -> FileEntry:
        """Return the entry of a node."""

    def content(self, path: str, node: N) -> io.RawIOBase:
        """Open the content of a file."""

    def extents(self, path: str, node: N) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""

    def prints(self, path: str, node: N) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""

    def attributes(self, node: N) -> dict[str, bytes]:
        """Return the extended attributes."""


class FileTree(Generic[N]):
    """A file system by paths; see :class:`vmkeep.model.guestfiles.GuestFileSystem`. A context manager."""

    def __init__(self, reader: NodeReader[N], volume: Volume) -> None:
        self._reader = reader
        self._volume = volume
        self._recent: Recent[str, N] = Recent(_RECENT)
        self._folders: OrderedDict[N, dict[str, N]] = OrderedDict()
        self._watched: dict[N, int] = {}

    def __enter__(self) -> FileTree[N]:
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Forget what is cached."""
        self._recent.clear()
        self._folders.clear()

    @property
    def kind(self) -> str:
        """Its kind in small letters."""
        return self._reader.kind

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about files that may be missing or old."""
        return tuple(self._reader.warnings)

    @property
    def own_folders(self) -> tuple[str, ...]:
        """Paths of the folders with the file system's own files, which the root's listing leaves out."""
        there = []
        for name in self._reader.own_folders:
            try:
                self.entry(f"/{name}")
            except NotFoundError:
                continue
            except (CorruptError, UnsupportedError):
                pass  # who lists it gets the error
            there.append(f"/{name}")
        return tuple(there)

    def entry(self, path: str) -> FileEntry:
        """Return the entry at a path."""
        path, node = self._find(path)
        return self._reader.describe(path, node)

    def entries(self, path: str, on_bad: OnBadEntry | None = None) -> Iterator[FileEntry]:
        """Yield the entries of a folder. Those that were yielded before an error are right.

        :param on_bad: takes each entry that cannot be read.
        :raises CorruptError: the folder is damaged; or nobody takes its bad entries, and all others were yielded.
        """
        path, node = self._find(path)
        if not self._reader.is_folder(node):
            raise NotFoundError(f"{self._volume.what}: {path} is no folder")
        return self._entries(path, node, on_bad)

    def _entries(self, path: str, node: N, on_bad: OnBadEntry | None) -> Iterator[FileEntry]:
        first: CorruptError | UnsupportedError | None = None
        seen: set[int] = set()
        for name, child in self._reader.children(node):
            try:
                found = self._entry(path, name, child, seen)
            except (CorruptError, UnsupportedError) as error:  # the others are told first
                if on_bad is not None:
                    on_bad(path if _is_unsafe(name) else _joined(path, name), error)
                first = first or error
                continue
            if path != "/" or name not in self._reader.own_folders:
                yield found
        if first is not None and on_bad is None:
            raise first

    def _entry(self, path: str, name: str, child: N, seen: set[int]) -> FileEntry:
        """Return an entry of a folder.

        :param seen: hashes of the names before it. A name that occurs twice could lead a caller to the wrong file.
        """
        if _is_unsafe(name):
            raise self._volume.damaged(f"{path} holds an entry with the name {name!r}, which no file can have")
        below = _joined(path, name)
        if hash(name) in seen:
            raise self._volume.damaged(f"{path} holds the name {name!r} twice")
        if len(seen) < _NAMES_WATCHED:
            seen.add(hash(name))
        try:
            found = self._reader.describe(below, child)
        except CorruptError as error:
            raise CorruptError(f"the entry {below} cannot be read: {error}") from error
        if found.kind is FileKind.FOLDER:
            self._watch(below, child)
        self._recent.put(below, child)
        return found

    def open(self, path: str) -> io.RawIOBase:
        """Open a file's content."""
        path, node = self._file(path)
        return self._reader.content(path, node)

    def data_extents(self, path: str) -> Iterator[Extent]:
        """Yield the ranges of a file that may hold data."""
        path, node = self._file(path)
        return self._reader.extents(path, node)

    def prints(self, path: str) -> Prints:
        """Yield the ranges of a file that may hold data, with their prints."""
        path, node = self._file(path)
        return self._reader.prints(path, node)

    def attributes(self, path: str) -> dict[str, bytes]:
        """Return the extended attributes of an entry."""
        return self._reader.attributes(self._find(path)[1])

    def _file(self, path: str) -> tuple[str, N]:
        path, node = self._find(path)
        kind = self._reader.describe(path, node).kind
        if kind is not FileKind.FILE:
            raise NotFoundError(f"{self._volume.what}: {path} is no file, but a {kind.value}")
        return path, node

    def _find(self, path: str) -> tuple[str, N]:
        """Return a path as the file system spells it, and its node."""
        parts = [part for part in path.split("/") if part]
        known = self._recent.get("/" + "/".join(parts))
        if known is not None:
            return "/" + "/".join(parts), known
        at, node = "/", self._reader.root()
        for part in parts:
            found = self._lookup(node, part)
            if found is None:
                raise NotFoundError(f"{self._volume.what}: there is no {_joined(at, part)}")
            at, node = _joined(at, found[0]), found[1]
        return at, node

    def _lookup(self, folder: N, name: str) -> tuple[str, N] | None:
        if not self._reader.is_folder(folder):
            return None
        names = self._names(folder)
        if names is not None and name in names:
            return name, names[name]
        pairs = names.items() if names is not None else self._children(folder)
        wanted = name.casefold()
        folded: list[tuple[str, N]] = []
        for each, node in pairs:
            if each == name:
                return each, node
            if self._reader.folds_case and each.casefold() == wanted:
                folded.append((each, node))
        return folded[0] if len(folded) == 1 else None

    def _names(self, folder: N) -> dict[str, N] | None:
        """Return the names of a folder; ``None``: it has too many for the memory."""
        known = self._folders.get(folder)
        if known is not None:
            self._folders.move_to_end(folder)
            return known
        names: dict[str, N] = {}
        for name, node in self._children(folder):
            names.setdefault(name, node)
            if len(names) > _NAMES_IN_MEMORY:
                return None
        self._folders[folder] = names
        while len(self._folders) > _FOLDERS_IN_MEMORY or sum(map(len, self._folders.values())) > 2 * _NAMES_IN_MEMORY:
            self._folders.popitem(last=False)
        return names

    def _children(self, folder: N) -> Iterator[tuple[str, N]]:
        for name, node in self._reader.children(folder):
            if not _is_unsafe(name):
                yield name, node

    def _watch(self, path: str, folder: N) -> None:
        """Refuse a folder that was met under another name, because walking through such a tree might never end."""
        if folder == self._reader.root():
            raise self._volume.damaged(f"{path} is the root again")
        name = hash(path)
        if len(self._watched) < _FOLDERS_WATCHED and self._watched.setdefault(folder, name) != name:
            raise self._volume.damaged(f"the folder {path} has a second name, which no folder can have")


def _is_unsafe(name: str) -> bool:
    return name in _UNSAFE or "/" in name or "\0" in name


def _joined(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"
