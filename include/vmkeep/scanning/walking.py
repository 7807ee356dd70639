"""Chooses the files of a file system that a scan looks at: all of them, or those that differ from an older point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.samefiles import same_content
from vmkeep.scanning.contract import LARGEST

MOST_FOLDERS: Final = 5_000_000
"""Folders of one file system, at most. A damaged or hostile one could have folders without end."""
_LONGEST_PATH: Final = 16_384
"""Characters of the longest path of a folder. FAT tells no identity by which a folder within itself is known."""

_UNREADABLE: Final = (CorruptError, NotFoundError, UnsupportedError)

IsUnchanged = Callable[[GuestFileSystem, FileEntry, GuestFileSystem, FileEntry], bool]
"""Tells whether a file in an older file system is the same in a newer one."""


@dataclass(frozen=True, slots=True)
class ChosenFile:
    """A file, and whether the scan looks at it."""

    entry: FileEntry
    unchanged: bool = False
    """The file holds what it held in the older point, so that the scan leaves it out."""


@dataclass(frozen=True, slots=True)
class UnreadFolder:
    """A folder whose files are not known, because it is damaged."""

    path: str
    why: str


def looks_unchanged(_older: GuestFileSystem, before: FileEntry, _newer: GuestFileSystem, after: FileEntry) -> bool:
    """Return whether a file has the size, the number and the times that it had. A program can set the times."""
    return _look(before) == _look(after)


def is_unchanged(older: GuestFileSystem, before: FileEntry, newer: GuestFileSystem, after: FileEntry) -> bool:
    """Return whether a file holds the bytes that it held, by the digests of the blocks in which they lie.

    No scan reads a file that is too large, encrypted or elsewhere, so that only its looks are compared: by them it is
    not counted twice.
    """
    if after.size > LARGEST:
        return looks_unchanged(older, before, newer, after)
    try:
        return same_content(older, before, newer, after)
    except UnsupportedError:
        return looks_unchanged(older, before, newer, after) and _is_refused(newer, after)
    except (CorruptError, NotFoundError):
        return False


def _is_refused(files: GuestFileSystem, entry: FileEntry) -> bool:
    try:
        files.open(entry.path).close()
    except UnsupportedError:
        return True
    return False


def choose_files(
    files: GuestFileSystem, older: GuestFileSystem | None = None, *, unchanged: IsUnchanged = is_unchanged
) -> Iterator[ChosenFile | UnreadFolder]:
    """Yield all regular files, folder by folder. A file that has several names comes once.

    The folders in which a file system keeps its own files come first, because malware may hide there. Links are not
    followed, and devices, pipes and sockets are left out, because they have no content.

    :param older: the same file system in an older point.
    :param unchanged: tells of a file that has the path of a file in the older point whether it is the same.
    :raises UnsupportedError: there are more than :data:`MOST_FOLDERS` folders, or one lies too deep.
    """
    seen_folders: set[int] = set()
    seen_files: set[int] = set()
    folders = [*files.own_folders, "/"]
    count = 0
    while folders:
        path = folders.pop()
        count += 1
        if count > MOST_FOLDERS:
            raise UnsupportedError(f"it has more than {MOST_FOLDERS:,} folders, and the rest was not looked at")
        if len(path) > _LONGEST_PATH:
            raise UnsupportedError(f"a folder lies too deep, and the rest was not looked at: {path[:60]}…")
        before = _files_of(older, path) if older is not None else {}
        try:
            for entry in files.entries(path):
                if entry.kind is FileKind.FOLDER:
                    if _is_new(entry, seen_folders):
                        folders.append(entry.path)
                elif entry.kind is FileKind.FILE and (entry.links < 2 or _is_new(entry, seen_files)):
                    known = before.get(entry.name)
                    same = older is not None and known is not None and unchanged(older, known, files, entry)
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


def _files_of(older: GuestFileSystem, path: str) -> dict[str, FileEntry]:
    """Return the files of a folder; nothing if there was no such folder, or if it cannot be read now."""
    try:
        return {entry.name: entry for entry in older.entries(path) if entry.kind is FileKind.FILE}
    except _UNREADABLE:
        return {}


def _look(entry: FileEntry) -> tuple[object, ...]:
    return entry.size, entry.modified, entry.changed, entry.created, entry.identity
