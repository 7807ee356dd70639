"""Files inside a guest's file system, as a restore point shows them, whatever kind the file system has."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeAlias

from vmkeep.errors import VmKeepError
from vmkeep.lateclass import dataclass
from vmkeep.model.extents import Extent
from vmkeep.model.prints import Print


class FileKind(StrEnum):
    """The kind of an entry in a folder."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    DEVICE = "device"
    PIPE = "pipe"
    SOCKET = "socket"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """An entry of a folder: a file, a folder, a symbolic link or something rarer."""

    path: str
    """From the root of its file system, e.g. ``/etc/hosts``; the root itself is ``/``.

    Bytes that are no UTF-8 are kept as Python's surrogates.
    """
    kind: FileKind
    size: int
    """Bytes of the content; 0 for all but files and symbolic links."""
    modified: datetime | None
    """UTC; ``None``: the file system does not record it, or what it records is no time."""
    changed: datetime | None = None
    created: datetime | None = None
    mode: int | None = None
    """The twelve POSIX permission bits; ``None``: the file system has none, as FAT and NTFS."""
    uid: int | None = None
    gid: int | None = None
    target: str | None = None
    """The path that a symbolic link names."""
    identity: int | None = None
    """Number of the file within its file system, e.g. its inode: equal for the names of one file."""
    links: int = 1
    """Number of names that the file has."""

    @property
    def name(self) -> str:
        """The last part of the path; empty for the root."""
        return self.path.rpartition("/")[2]


OnBadEntry: TypeAlias = Callable[[str, VmKeepError], None]
"""Takes the path and the error of an entry that cannot be read. The path is the folder's if the name is no name."""


class GuestFileSystem(Protocol):
    """A file system of a guest, open for reading. Not thread-safe: each thread opens its own.

    Everything in it was written by a stranger. Each method may raise :class:`vmkeep.errors.CorruptError` if the file
    system contradicts itself, and ends in any case.
    """

    @property
    def kind(self) -> str:
        """Its kind in small letters, e.g. ``ext4``, ``xfs``, ``ntfs``, ``vfat``, ``exfat``, ``btrfs``."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about files that may be missing or old, e.g. because a journal was not replayed."""

    @property
    def own_folders(self) -> tuple[str, ...]:
        """Paths of folders in which the file system keeps files of its own, e.g. NTFS's ``/$Extend``.

        The root's listing leaves them out, as the guest does; a guest's program may have hidden files in them.
        """

    def entry(self, path: str) -> FileEntry:
        """Return the entry at a path. A symbolic link is not followed, nor are those on the way.

        :raises NotFoundError: there is none.
        """

    def entries(self, path: str, on_bad: OnBadEntry | None = None) -> Iterator[FileEntry]:
        """Yield the entries of a folder, without itself and its parent, in the order of the file system.

        :param on_bad: takes each entry that cannot be read. Without it, the first one is an error behind all others.
        :raises NotFoundError: there is no such folder.
        """

    def open(self, path: str) -> io.RawIOBase:
        """Open a file's content for reading and seeking. Holes read as zeros.

        :raises NotFoundError: there is no such file.
        """

    def data_extents(self, path: str) -> Iterator[Extent]:
        """Yield the ranges of a file, in order, that may hold data. All other bytes are zero.

        :raises NotFoundError: there is no such file.
        """

    def prints(self, path: str) -> Iterator[tuple[Extent, Print]]:
        """Yield the extents of a file, in order, with their prints. All other bytes are zero.

        :raises NotFoundError: there is no such file.
        """

    def attributes(self, path: str) -> dict[str, bytes]:
        """Return the extended attributes of an entry, by name with prefix, e.g. ``user.comment``.

        :raises NotFoundError: there is no such entry.
        """
