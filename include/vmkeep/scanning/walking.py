"""Chooses the files of a file system that a scan looks at: all of them, or those that differ from an older point."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

MOST_FOLDERS: Final = 5_000_000
"""Folders of one file system, at most. A damaged or hostile one could have folders without end."""
_LONGEST_PATH: Final = 16_384
"""Characters of the longest path of a folder. FAT tells no identity by which a folder within itself is known."""

_UNREADABLE: Final = (CorruptError, NotFoundError, UnsupportedError)
_Look = tuple[int, datetime | None, datetime | None, datetime | None, int | None]


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """A file, and whether the scan looks at it."""

    entry: FileEntry
    unchanged: bool = False
    """The file is as it was in the older point, so that the scan leaves it out."""


@dataclass(frozen=True, slots=True)
class UnreadFolder:
    """A folder whose files are not known, because it is damaged."""

    path: str
    why: str


def choose_files(files: GuestFileSystem, older: GuestFileSystem | None = None) -> Iterator[ChosenFile | UnreadFolder]:
    """Yield all regular files, folder by folder. A file that has several names comes once.

    Links are not followed, and devices, pipes and sockets are left out, because they have no content.

    A file is unchanged if its size, its identity and all its times are those of the file of the same path in the older
    file system. One whose file system records no time of a change counts as changed, because anybody can set the other
    times. A program that writes to the disk below its file system can forge all of them: only a scan of the whole point
    sees that.

    :param older: the same file system in an older point.
    :raises UnsupportedError: there are more than :data:`MOST_FOLDERS` folders, or one lies too deep.
    """
    seen_folders: set[int] = set()
    seen_files: set[int] = set()
    folders = ["/"]
    count = 0
    while folders:
        path = folders.pop()
        count += 1
        if count > MOST_FOLDERS:
            raise UnsupportedError(f"it has more than {MOST_FOLDERS:,} folders, and the rest was not looked at")
        if len(path) > _LONGEST_PATH:
            raise UnsupportedError(f"a folder lies too deep, and the rest was not looked at: {path[:60]}…")
        before = _looks(older, path) if older is not None else {}
        try:
            for entry in files.entries(path):
                if entry.kind is FileKind.FOLDER:
                    if _is_new(entry, seen_folders):
                        folders.append(entry.path)
                elif entry.kind is FileKind.FILE and (entry.links < 2 or _is_new(entry, seen_files)):
                    same = entry.changed is not None and before.get(entry.name) == _look(entry)
                    yield ChosenFile(entry, unchanged=same)
        except _UNREADABLE as error:
            yield UnreadFolder(path, str(error))


def _is_new(entry: FileEntry, seen: set[int]) -> bool:
    """Return whether an entry comes for the first time. A folder that contains itself would never end."""
    if entry.identity is None:
        return True
    if entry.identity in seen:
        return False
    seen.add(entry.identity)
    return True


def _looks(older: GuestFileSystem, path: str) -> dict[str, _Look]:
    """Return how the files of a folder looked; nothing if there was no such folder, or if it cannot be read now."""
    try:
        return {entry.name: _look(entry) for entry in older.entries(path) if entry.kind is FileKind.FILE}
    except _UNREADABLE:
        return {}


def _look(entry: FileEntry) -> _Look:
    return entry.size, entry.modified, entry.changed, entry.created, entry.identity
