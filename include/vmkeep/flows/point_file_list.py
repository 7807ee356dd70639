"""Lists, finds and describes the files in a restore point. One entry that cannot be read hides no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, VmKeepError
from vmkeep.fetching import Step, sha256_of, walk
from vmkeep.fileindex import Pattern
from vmkeep.flows.point_files import FilePath, PointFiles
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.job import Progress
from vmkeep.model.wording import counted

__all__ = ["DescribedFile", "ListedFile", "Wanted", "describe_file", "find_files", "list_files"]

MOST_NAMED: Final = 1000
"""Entries of one folder that cannot be read and are named. The others are counted."""
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """An entry of a listing."""

    volume: str
    entry: FileEntry
    sha256: str | None = None
    """SHA-256 of a file's content, in hex; ``None``: nobody asked for it, or the entry is no file."""
    problem: str = ""
    """The reason why the entry, its content, or the rest of the folder cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedFile:
    """All that is known about one entry."""

    volume: str
    entry: FileEntry
    bytes_of_data: int | None
    """Bytes of the file that are not in holes; ``None``: the entry is no file."""
    attributes: dict[str, bytes]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The conditions of a search. An entry has to meet all of them."""

    name: str | None = None
    """A pattern; see :class:`vmkeep.fileindex.Pattern`."""
    ignore_case: bool = False
    newer: datetime | None = None
    older: datetime | None = None
    larger: int | None = None
    smaller: int | None = None
    kind: FileKind | None = None

    def test(self) -> Callable[[FileEntry], bool]:
        """Return the test of one entry."""
        pattern = None if self.name is None else Pattern(self.name, ignore_case=self.ignore_case)

        def fits(entry: FileEntry) -> bool:
            return (
                (self.kind is None or entry.kind is self.kind)
                and (self.larger is None or (entry.kind is FileKind.FILE and entry.size > self.larger))
                and (self.smaller is None or (entry.kind is FileKind.FILE and entry.size < self.smaller))
                and (self.newer is None or (entry.modified is not None and entry.modified > self.newer))
                and (self.older is None or (entry.modified is not None and entry.modified < self.older))
                and (pattern is None or pattern.fits(entry.path))
            )

        return fits


def list_files(
    opened: PointFiles,
    at: FilePath,
    *,
    recursive: bool = False,
    sha256: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> Iterator[ListedFile]:
    """Yield the entries of a folder, sorted by name, then those that cannot be read, with the problem; or a file alone.

    :param recursive: also those of all folders below, each folder's own entries first.
    :param sha256: read each file, and tell the SHA-256 of its content.
    :param on_progress: counts entries; with ``sha256``, bytes.
    :raises NotFoundError: there is no such path.
    :raises CorruptError: nothing of the folder can be read. Below it, such an error is the problem of its entry.
    """
    yield from _Listing(opened.open(at.volume), at.volume, sha256, _Meter(on_progress)).of(
        opened.entry(at), recursive=recursive
    )


def find_files(
    opened: PointFiles,
    places: Sequence[FilePath],
    wanted: Wanted,
    *,
    on_progress: OnProgress = lambda _progress: None,
) -> Iterator[ListedFile]:
    """Yield the entries below some paths that meet all conditions, and those that cannot be read, with the problem.

    :param on_progress: counts all entries that were looked at.
    """
    fits, meter = wanted.test(), _Meter(on_progress)
    for at in places:
        for listed in _Listing(opened.open(at.volume), at.volume, False, meter).of(opened.entry(at), recursive=True):
            if listed.problem or fits(listed.entry):
                yield listed


def describe_file(opened: PointFiles, at: FilePath) -> DescribedFile:
    """Return all that is known about one entry."""
    files = opened.open(at.volume)
    entry = opened.entry(at)
    data = None
    if entry.kind is FileKind.FILE:
        data = sum(min(extent.stop, entry.size) - extent.start for extent in files.data_extents(entry.path)
                   if extent.start < entry.size)  # fmt: skip
    return DescribedFile(
        volume=at.volume, entry=entry, bytes_of_data=data, attributes=files.attributes(entry.path),
        warnings=(*opened.warnings, *opened.warnings_of(at.volume)),
    )  # fmt: skip


class _Listing:
    """One listing of a volume. It notes what cannot be read, and goes on."""

    def __init__(self, files: GuestFileSystem, volume: str, sha256: bool, meter: _Meter) -> None:
        self._files = files
        self._volume = volume
        self._sha256 = sha256
        self._meter = meter
        self._folder = ""
        self._bad: list[ListedFile] = []
        self._more = 0

    def of(self, top: FileEntry, *, recursive: bool) -> Iterator[ListedFile]:
        """Yield a file, or what is in a folder."""
        if top.kind is not FileKind.FOLDER:
            yield self._listed(top)
        elif recursive:
            yield from self._below(top)
        else:
            yield from self._in(top)

    def _in(self, top: FileEntry) -> Iterator[ListedFile]:
        """Yield the entries of one folder."""
        self._folder = top.path
        entries: list[FileEntry] = []
        try:
            entries.extend(self._files.entries(top.path, self._note))
        except _OF_ENTRY as error:
            if not entries and not self._bad:
                raise
            self._note(top.path, error)
        for entry in sorted(entries, key=lambda entry: entry.name):
            yield self._listed(entry)
        yield from self._noted()

    def _below(self, top: FileEntry) -> Iterator[ListedFile]:
        """Yield all entries below a folder. A folder is told when it is entered."""
        for step, entry in walk(self._files, top, self._note, ordered=True):
            yield from self._noted()
            if step is Step.ENTER:
                self._folder = entry.path
            if step is not Step.LEAVE and entry is not top:
                yield self._listed(entry)
        yield from self._noted()

    def _note(self, path: str, error: VmKeepError) -> None:
        if not isinstance(error, _OF_ENTRY):
            raise error
        if len(self._bad) >= MOST_NAMED:
            self._more += 1
            return
        kind = FileKind.FOLDER if path == self._folder else FileKind.OTHER
        entry = FileEntry(path=path, kind=kind, size=0, modified=None)
        self._bad.append(ListedFile(volume=self._volume, entry=entry, problem=str(error)))

    def _noted(self) -> Iterator[ListedFile]:
        yield from self._bad
        self._bad.clear()
        if self._more:
            entry = FileEntry(path=self._folder, kind=FileKind.FOLDER, size=0, modified=None)
            problem = f"{counted(self._more, 'more entry', 'more entries')} in it cannot be read"
            yield ListedFile(volume=self._volume, entry=entry, problem=problem)
            self._more = 0

    def _listed(self, entry: FileEntry) -> ListedFile:
        if not self._sha256:
            self._meter.add_entry()
        if not self._sha256 or entry.kind is not FileKind.FILE:
            return ListedFile(volume=self._volume, entry=entry)
        try:
            digest = sha256_of(self._files, entry, self._meter.add_bytes)
        except (CorruptError, UnsupportedError) as error:
            return ListedFile(volume=self._volume, entry=entry, problem=str(error))
        return ListedFile(volume=self._volume, entry=entry, sha256=digest)


_OF_ENTRY: Final = (CorruptError, UnsupportedError, NotFoundError)


class _Meter:
    """Tells how many entries were seen, or how many bytes were read, of a work whose size nobody knows before."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._done = 0

    def add_entry(self) -> None:
        """Count an entry."""
        self._tell("list", 1)

    def add_bytes(self, count: int) -> None:
        """Count bytes of files."""
        self._tell("hash", count)

    def _tell(self, phase: str, count: int) -> None:
        self._done += count
        self._on_progress(Progress(phase=phase, bytes_done=self._done, bytes_total=0))
