"""Compares the files of two restore points of one VM: which appeared, which changed, which went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import StrEnum

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, VmKeepError
from vmkeep.fetching import Step, sha256_of, walk
from vmkeep.flows.point_files import FilePath, PointFiles, open_point_files, parse_file_path
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.job import Progress
from vmkeep.model.samefiles import same_content
from vmkeep.repository import Repository

__all__ = ["Change", "FileChange", "compare_files"]

OnProgress = Callable[[Progress], None]
Tell = Callable[[str], None]


class Change(StrEnum):
    """The fate of a path between two points."""

    APPEARED = "appeared"
    CHANGED = "changed"
    WENT = "went"
    UNKNOWN = "unknown"
    """It cannot be read in one of the points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A path that differs between two points."""

    change: Change
    volume: str
    path: str
    what: tuple[str, ...] = ()
    """The facts that differ: kind, size, modified, mode, owner, target, content."""
    before: FileEntry | None = None
    after: FileEntry | None = None
    problem: str = ""
    """The reason why it cannot be compared."""


def compare_files(
    repository: Repository,
    before: str,
    after: str,
    *,
    at: str | None = None,
    sha256: bool = False,
    tell: Tell,
    on_progress: OnProgress = lambda _progress: None,
) -> Iterator[FileChange]:
    """Yield the paths that differ, in the order of a walk through both points.

    A file has changed if its kind, size, time of change, mode, owner, target or content has. Content is compared by the
    digests of the blocks in which it lies, and read where those differ. A renamed file went and appeared.

    :param at: ``VOLUME:/path``, the only place to compare; ``None``: all volumes with files, by their names.
    :param sha256: read all files of equal size in both points, and compare what was read.
    :param on_progress: counts entries of both points; with ``sha256``, bytes.
    :raises NotFoundError: one of the points, or the place in both of them, does not exist.
    """
    tell = _once(tell)
    with ExitStack() as stack:
        old = stack.enter_context(open_point_files(repository, before, doing="comparing files", tell=tell))
        new = stack.enter_context(open_point_files(repository, after, doing="comparing files", tell=tell))
        if old.point.vm.key != new.point.vm.key:
            tell(f"the points are of two VMs: {old.point.vm.name} and {new.point.vm.name}")
        comparison = _Comparison(sha256, on_progress)
        for place in _places(old, new, at, tell):
            yield from _compare_place(comparison, old, new, place)


def _once(tell: Tell) -> Tell:
    """Return a function that passes each sentence on once, because much is true of both points."""
    told: set[str] = set()

    def take(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            tell(sentence)

    return take


def _places(old: PointFiles, new: PointFiles, at: str | None, tell: Tell) -> Iterator[FilePath]:
    """Yield the places to compare. A volume that only one of the points has is one, too."""
    if at is not None:
        yield parse_file_path(at)
        return
    readable: dict[str, None] = {}
    refused: dict[str, str] = {}
    missed: set[str] = set()
    for opened in (old, new):
        for volume in opened.volumes:
            if volume.has_files:
                readable[volume.name] = None
            else:
                refused[volume.name] = f"{opened.point.ref}, {volume.name} is not compared: {volume.reason}"
                if volume.may_hide_files:
                    missed.add(volume.name)
    for name, why in refused.items():
        if name in readable or name in missed:
            tell(why)
    for name in readable:
        if name not in refused:
            yield FilePath(volume=name, path="/")


def _compare_place(comparison: _Comparison, old: PointFiles, new: PointFiles, at: FilePath) -> Iterator[FileChange]:
    sides = _side(old, at), _side(new, at)
    match sides:
        case (None, None):
            raise NotFoundError(f"{at} is neither in {old.point.ref} nor in {new.point.ref}")
        case ((files, entry), None):
            yield from comparison.all_below(files, entry, at.volume, Change.WENT)
        case (None, (files, entry)):
            yield from comparison.all_below(files, entry, at.volume, Change.APPEARED)
        case ((old_files, old_entry), (new_files, new_entry)):
            yield from comparison.of(old_files, new_files, old_entry, new_entry, at.volume)


def _side(opened: PointFiles, at: FilePath) -> tuple[GuestFileSystem, FileEntry] | None:
    """Return a point's file system and its entry at a place; ``None``: it has no such volume or path."""
    try:
        return opened.open(at.volume), opened.entry(at)
    except NotFoundError:
        return None


class _Comparison:
    """Compares folders of two file systems, each with few folders in memory at a time."""

    def __init__(self, sha256: bool, on_progress: OnProgress) -> None:
        self._sha256 = sha256
        self._on_progress = on_progress
        self._done = 0

    def all_below(self, files: GuestFileSystem, top: FileEntry, volume: str, change: Change) -> Iterator[FileChange]:
        """Yield an entry that only one point has, and everything below it."""
        if top.kind is not FileKind.FOLDER:
            yield _only(top, volume, change)
            return
        failed: list[FileChange] = []

        def note(path: str, error: VmKeepError) -> None:
            failed.append(_unknown(volume, path, error))

        for step, entry in walk(files, top, note, ordered=True):
            yield from failed
            failed.clear()
            if step is not Step.LEAVE:
                self._add_entry()
                yield _only(entry, volume, change)
        yield from failed

    def of(
        self, old: GuestFileSystem, new: GuestFileSystem, before: FileEntry, after: FileEntry, volume: str
    ) -> Iterator[FileChange]:
        """Yield all that differs between two entries of one path, and below them."""
        pending = [(before, after)]
        while pending:
            one, two = pending.pop()
            self._add_entry()
            yield from self._pair(old, new, one, two, volume)
            if one.kind is FileKind.FOLDER and two.kind is FileKind.FOLDER:
                try:
                    ours, theirs = _named(old, one), _named(new, two)
                except _OF_ENTRY as error:
                    yield _unknown(volume, two.path, error)
                    continue
                below = []
                for name in sorted({*ours, *theirs}):
                    if name in ours and name in theirs:
                        below.append((ours[name], theirs[name]))
                    elif name in ours:
                        yield from self.all_below(old, ours[name], volume, Change.WENT)
                    else:
                        yield from self.all_below(new, theirs[name], volume, Change.APPEARED)
                pending.extend(reversed(below))
            elif one.kind is FileKind.FOLDER:
                yield from self._without_top(old, one, volume, Change.WENT)
            elif two.kind is FileKind.FOLDER:
                yield from self._without_top(new, two, volume, Change.APPEARED)

    def _without_top(self, files: GuestFileSystem, top: FileEntry, volume: str, change: Change) -> Iterator[FileChange]:
        for found in self.all_below(files, top, volume, change):
            if found.path != top.path:
                yield found

    def _pair(
        self, old: GuestFileSystem, new: GuestFileSystem, before: FileEntry, after: FileEntry, volume: str
    ) -> Iterator[FileChange]:
        what = list(_differences(before, after))
        if self._sha256 and before.kind is after.kind is FileKind.FILE and before.size == after.size:
            try:
                if sha256_of(old, before, self._add_bytes) != sha256_of(new, after, self._add_bytes):
                    what.append("content")
            except _OF_ENTRY as error:
                yield _unknown(volume, after.path, error)
                return
        elif not what and before.kind is FileKind.FILE:
            try:
                what += [] if same_content(old, before, new, after) else ["content"]
            except UnsupportedError:
                pass  # e.g. encrypted: nobody can tell more than its looks
            except (CorruptError, NotFoundError) as error:
                yield _unknown(volume, after.path, error)
                return
        if what:
            yield FileChange(
                change=Change.CHANGED, volume=volume, path=after.path, what=tuple(what), before=before, after=after
            )

    def _add_entry(self) -> None:
        if not self._sha256:
            self._tell(1)

    def _add_bytes(self, count: int) -> None:
        self._tell(count)

    def _tell(self, count: int) -> None:
        self._done += count
        self._on_progress(Progress(phase="compare", bytes_done=self._done, bytes_total=0))


_OF_ENTRY = (CorruptError, UnsupportedError, NotFoundError)


def _named(files: GuestFileSystem, folder: FileEntry) -> dict[str, FileEntry]:
    return {entry.name: entry for entry in files.entries(folder.path)}


def _differences(before: FileEntry, after: FileEntry) -> Iterator[str]:
    """Yield the facts that differ. The time of a folder is none: it follows from the entries of the folder."""
    if before.kind is not after.kind:
        yield "kind"
        return
    if before.size != after.size:
        yield "size"
    if before.modified != after.modified and before.kind is not FileKind.FOLDER:
        yield "modified"
    if before.mode != after.mode:
        yield "mode"
    if (before.uid, before.gid) != (after.uid, after.gid):
        yield "owner"
    if before.target != after.target:
        yield "target"


def _only(entry: FileEntry, volume: str, change: Change) -> FileChange:
    went = change is Change.WENT
    return FileChange(
        change=change, volume=volume, path=entry.path, before=entry if went else None, after=None if went else entry
    )


def _unknown(volume: str, path: str, error: VmKeepError) -> FileChange:
    if not isinstance(error, _OF_ENTRY):
        raise error
    return FileChange(change=Change.UNKNOWN, volume=volume, path=path, problem=str(error))
