"""Makes the index of the files in a restore point, and searches the indexes of many points."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from vmkeep.blobs import abreast
from vmkeep.clock import now
from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.fetching import Step, walk
from vmkeep.fileindex import IndexedFile, Pattern, pack, search
from vmkeep.flows.point_choice import newest_points, parse_point_selector
from vmkeep.flows.point_files import FilePath, PointFiles, open_point_files
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind
from vmkeep.model.job import Progress
from vmkeep.model.wording import counted
from vmkeep.repository import FileIndexHead, IndexedVolume, Repository
from vmkeep.repository.points import PointName

__all__ = ["FileIndexHead", "FileVersion", "Found", "index_files", "search_files"]

MOST_FOUND: Final = 100_000
"""Most versions that one search may find. They are kept in memory."""
OnProgress = Callable[[Progress], None]
Tell = Callable[[str], None]


def index_files(
    repository: Repository,
    text: str,
    *,
    tell: Tell,
    on_progress: OnProgress = lambda _progress: None,
) -> FileIndexHead:
    """Make the index of all files in a point, and keep it with the point, in place of an older one.

    A volume whose files cannot be read is named in the index with the reason, and so is one with a bad entry or folder.

    :param on_progress: counts entries instead of bytes.
    :raises NotFoundError: there is no such point.
    :raises UnsupportedError: the point holds no disk.
    """
    with open_point_files(repository, text, doing="indexing files", tell=tell) as opened:
        writer = repository.file_lists.begin(opened.point)
        try:
            volumes, entries = [], 0
            for volume in opened.volumes:
                if volume.has_files:
                    made = _index_volume(opened, volume.name, volume.kind, writer.add, entries, on_progress)
                    entries += made.entries
                    volumes.append(made)
                elif volume.may_hide_files:
                    volumes.append(IndexedVolume(name=volume.name, kind=volume.kind, entries=0, problem=volume.reason))
            return writer.end(made_at=now(), entries=entries, volumes=volumes)
        except BaseException:
            writer.give_up()
            raise


def _index_volume(
    opened: PointFiles, name: str, kind: str, add: Callable[[bytes], None], before: int, on_progress: OnProgress
) -> IndexedVolume:
    """Add the parts of one volume. What cannot be read of it is told in the result."""
    failed = 0
    first = ""

    def note(path: str, error: VmKeepError) -> None:
        nonlocal failed, first
        if not isinstance(error, CorruptError | UnsupportedError | NotFoundError):
            raise error
        failed += 1
        first = first or f"{path}: {error}"

    entries = 0
    try:
        for part, count in pack(name, _counted(_entries(opened, name, note), before, on_progress)):
            add(part)
            entries += count
    except (CorruptError, UnsupportedError) as error:  # the file system as a whole
        return IndexedVolume(name=name, kind=kind, entries=entries, problem=str(error))
    problem = f"{counted(failed, 'entry', 'entries')} could not be read, first {first}" if failed else ""
    return IndexedVolume(name=name, kind=kind, entries=entries, problem=problem)


def _entries(opened: PointFiles, volume: str, note: Callable[[str, VmKeepError], None]) -> Iterator[FileEntry]:
    files = opened.open(volume)
    top = opened.entry(FilePath(volume=volume, path="/"))
    for step, entry in walk(files, top, note):
        if step is not Step.LEAVE and entry is not top:
            yield entry


def _counted(entries: Iterator[FileEntry], before: int, on_progress: OnProgress) -> Iterator[FileEntry]:
    for done, entry in enumerate(entries, start=before + 1):
        on_progress(Progress(phase="index", bytes_done=done, bytes_total=0))
        yield entry


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """A file with one size and one time of change, in the points of one VM."""

    vm: str
    """Name of the VM."""
    vm_key: str
    volume: str
    path: str
    kind: FileKind
    size: int
    modified: datetime | None
    points: int
    """Number of the points in which it is so."""
    first: str
    """Ref of the oldest of them."""
    first_taken_at: datetime
    last: str
    """Ref of the newest of them, from which to fetch it."""
    last_taken_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The result of a search."""

    versions: tuple[FileVersion, ...]
    """By VM, volume and path; of each path, the newest version first."""
    searched: int
    """Number of points whose index was searched."""
    without_index: tuple[str, ...]
    """Refs of the points that were not searched, because they have no index."""
    problems: tuple[str, ...]
    """A sentence for each index that cannot be read, or that does not hold all files of its point."""


def search_files(repository: Repository, text: str, *, ignore_case: bool = False, selector: str | None = None) -> Found:
    """Find files by name in all points that have an index. No point itself is read.

    :param text: a pattern; see :class:`vmkeep.fileindex.Pattern`.
    :param selector: says of which VMs the points are searched; ``None``: of all.
    :raises SelectorError: the selector cannot be parsed.
    :raises UsageError: the pattern is empty, or too many versions fit it, or the selector asks what points do not tell.
    """
    pattern = Pattern(text, ignore_case=ignore_case)
    names = _names(repository, selector)
    indexed = repository.file_lists.manifests()
    search_in = [name for name in names if name.blob in indexed]
    versions: dict[tuple[object, ...], FileVersion] = {}
    problems: list[str] = []
    for head, found, problem in abreast(repository.blobs, partial(_search_point, repository, pattern), search_in):
        problems += problem
        for each in found:
            _add(versions, head, each)
        if len(versions) > MOST_FOUND:
            raise UsageError(f"more than {MOST_FOUND:,} versions of files fit '{text}': make the pattern narrower")
    return Found(
        versions=tuple(sorted(versions.values(), key=_order)),
        searched=len(search_in),
        without_index=tuple(name.ref for name in names if name.blob not in indexed),
        problems=tuple(problems),
    )


def _names(repository: Repository, selector: str | None) -> list[PointName]:
    """Return the names of all points of the VMs that a selector means."""
    manifests = repository.manifests
    if selector is None:
        return list(manifests.names())
    chosen = newest_points(repository, parse_point_selector(selector))
    keys = dict.fromkeys(each.ref.rpartition("/")[0] for each in chosen)
    return [name for key in keys for name in manifests.names(key)]


def _search_point(
    repository: Repository, pattern: Pattern, name: PointName
) -> tuple[FileIndexHead | None, list[IndexedFile], list[str]]:
    """Search the index of one point. Return its head, the files, and sentences about what is missing."""
    try:
        head = repository.file_lists.head(name.ref)
        if head is None:
            return None, [], []  # the point was deleted meanwhile
        found: list[IndexedFile] = []
        for part in repository.file_lists.parts(head):
            found += search(part, pattern)
            if len(found) > MOST_FOUND:
                break
    except CorruptError as error:
        return None, [], [str(error)]
    unread = [f"{name.ref}, {volume.name}: {volume.problem}" for volume in head.volumes if volume.problem]
    return head, found, unread


def _add(versions: dict[tuple[object, ...], FileVersion], head: FileIndexHead | None, file: IndexedFile) -> None:
    """Count a file of a point with the version that it is."""
    assert head is not None
    vm_key = head.point.rpartition("/")[0]
    key = (vm_key, file.volume, file.path, file.kind, file.size, file.modified)
    known = versions.get(key)
    if known is None:
        versions[key] = FileVersion(
            vm=head.vm, vm_key=vm_key, volume=file.volume, path=file.path, kind=file.kind, size=file.size,
            modified=file.modified, points=1, first=head.point, first_taken_at=head.taken_at, last=head.point,
            last_taken_at=head.taken_at,
        )  # fmt: skip
        return
    known = replace(known, points=known.points + 1)
    if head.taken_at < known.first_taken_at:
        known = replace(known, first=head.point, first_taken_at=head.taken_at)
    if head.taken_at > known.last_taken_at:
        known = replace(known, last=head.point, last_taken_at=head.taken_at, vm=head.vm)
    versions[key] = known


def _order(version: FileVersion) -> tuple[str, str, str, str, float]:
    return version.vm, version.vm_key, version.volume, version.path, -version.last_taken_at.timestamp()
