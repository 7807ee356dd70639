"""Goes through a folder of a guest's file system and everything below it, in an order that needs little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import Final, TypeAlias

from vmkeep.errors import CorruptError, VmKeepError
from vmkeep.fetching.names import check_name
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

_DEEPEST: Final = 1000
"""Most folders within each other. No system lets a user make a path so long by the usual ways."""


class Step(Enum):
    """The steps of a walk."""

    ENTER = auto()
    """A folder begins. The entries that follow are in it."""
    ENTRY = auto()
    """Anything but a folder, in the folder that was entered last."""
    LEAVE = auto()
    """The folder that was entered last is complete."""


Walk: TypeAlias = Iterator[tuple[Step, FileEntry]]
OnFailure: TypeAlias = Callable[[str, VmKeepError], None]
"""Takes the path and the error of an entry that cannot be read. If it returns, the walk goes on without the entry."""


@dataclass(slots=True)
class _Open:
    """A folder that was entered."""

    entry: FileEntry
    folders: list[FileEntry]
    """Folders in it that are still to be entered, the next one last."""


def walk(files: GuestFileSystem, top: FileEntry, on_failure: OnFailure, *, ordered: bool = False) -> Walk:
    """Yield the steps through a folder: first all entries that are no folders, then one folder after the other.

    Of each folder on the way, only its folders are kept in memory. ``on_failure`` takes each entry that cannot be read,
    and the folder itself if its listing breaks off; it is left as if it ended there.

    :param top: a folder.
    :param ordered: sort the entries of each folder by name, for which all of one folder are kept at a time.
    """
    way: list[_Open] = []
    pending: FileEntry | None = top
    while pending is not None or way:
        if pending is not None:
            yield Step.ENTER, pending
            opened = _Open(pending, [])
            way.append(opened)
            yield from _entries(files, opened, on_failure, ordered=ordered)
            opened.folders.reverse()
            pending = None
        if way[-1].folders:
            pending = _next(way, on_failure)
        else:
            yield Step.LEAVE, way.pop().entry


def _entries(files: GuestFileSystem, opened: _Open, on_failure: OnFailure, *, ordered: bool) -> Walk:
    """Yield the entries of a folder that are no folders, and note its folders."""
    listing = _sound_entries(files, opened.entry.path, on_failure)
    for entry in sorted(listing, key=lambda entry: entry.name) if ordered else listing:
        if entry.kind is FileKind.FOLDER:
            opened.folders.append(entry)
        else:
            yield Step.ENTRY, entry


def _sound_entries(files: GuestFileSystem, path: str, on_failure: OnFailure) -> Iterator[FileEntry]:
    """Yield the entries of a folder up to its first error. Leave out the bad ones, and names that no file can have."""
    listing: Iterator[FileEntry] | None = None
    ends: list[VmKeepError] = []

    def on_bad(bad: str, error: VmKeepError) -> None:
        try:
            on_failure(bad, error)
        except VmKeepError as end:
            ends.append(end)
            raise

    while True:
        try:
            listing = files.entries(path, on_bad) if listing is None else listing
            entry = next(listing, None)
        except VmKeepError as error:
            if error in ends:  # on_failure has taken it already, and wants no more
                raise
            on_failure(path, error)
            return
        if entry is None:
            return
        try:
            check_name(entry.name)
        except CorruptError as error:
            on_failure(f"{path.rstrip('/')}/{entry.name}", error)
        else:
            yield entry


def _next(way: list[_Open], on_failure: OnFailure) -> FileEntry | None:
    """Take the next folder of the innermost one, unless it would lead round in a circle."""
    entry = way[-1].folders.pop()
    if entry.identity is not None and any(entry.identity == above.entry.identity for above in way):
        on_failure(entry.path, CorruptError("the folder contains itself"))
        return None
    if len(way) >= _DEEPEST:
        on_failure(entry.path, CorruptError(f"more than {_DEEPEST} folders lie within each other"))
        return None
    return entry
