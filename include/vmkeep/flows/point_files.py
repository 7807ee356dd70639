"""Opens the files in a restore point: lists its volumes, lists, finds and describes files, without a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from vmkeep.errors import CorruptError, NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.fetching import Step, sha256_of, walk
from vmkeep.fileindex import Pattern
from vmkeep.flows.point_doubts import about_content
from vmkeep.guest import DiskInGuest
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes import Volume, find_volumes
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.job import Progress
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer import open_views

__all__ = [
    "DescribedFile", "FilePath", "ListedFile", "PointFiles", "ShownVolume", "Wanted", "describe_file",
    "find_files", "list_files", "open_point_files", "parse_file_path",
]  # fmt: skip

OnProgress = Callable[[Progress], None]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePath:
    """A file or a folder in a restore point, as a person names it: ``VOLUME:/path``."""

    volume: str
    path: str
    """Begins with a slash."""

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.volume}:{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownVolume:
    """A volume of a guest, for people and scripts."""

    name: str
    size: int
    kind: str
    label: str
    uuid: str
    state: str
    has_files: bool
    """Whether files can be read in it."""
    reason: str
    """The reason why not, and the way out; empty: files can be read."""
    may_hide_files: bool
    """Whether it may have files that cannot be read."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedFile:
    """An entry of a listing."""

    volume: str
    entry: FileEntry
    sha256: str | None = None
    """SHA-256 of a file's content, in hex; ``None``: nobody asked for it, or the entry is no file."""
    problem: str = ""
    """The reason why the content, or the rest of the folder, cannot be read."""


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


def parse_file_path(text: str) -> FilePath:
    """Return the volume and the path that ``VOLUME:/path`` names. A volume alone names its root.

    :raises UsageError: it has no volume, or leads upwards.
    """
    volume, colon, path = text.partition(":")
    if not volume or (colon and path and not path.startswith("/")):
        raise UsageError(f"'{text}' is no place of files: write VOLUME:/path, e.g. disk0p1:/etc/hosts")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"'{text}': write the path without '..'")
    return FilePath(volume=volume, path="/" + "/".join(parts))


class PointFiles:
    """The volumes and files of one restore point, while :func:`open_point_files` is open. Not thread-safe."""

    def __init__(
        self, point: RestorePoint, warnings: tuple[str, ...], found: tuple[Volume, ...], stack: ExitStack, tell: Tell
    ) -> None:
        self.point = point
        self.warnings = warnings
        """Sentences about the whole point."""
        self._found = {volume.name: volume for volume in found}
        self._stack = stack
        self._tell = tell
        self._opened: dict[str, GuestFileSystem] = {}

    @property
    def volumes(self) -> tuple[ShownVolume, ...]:
        """All volumes, also those whose files cannot be read."""
        return tuple(
            ShownVolume(
                name=volume.name, size=volume.size, kind=volume.kind, label=volume.label, uuid=volume.uuid,
                state=volume.state, has_files=volume.has_files, reason=volume.refusal,
                may_hide_files=volume.may_hide_files, warnings=volume.warnings,
            )
            for volume in self._found.values()
        )  # fmt: skip

    def warnings_of(self, volume: str) -> tuple[str, ...]:
        """Return the sentences about files of a volume that may be missing or old."""
        about = (*self._found[volume].warnings, *self.open(volume).warnings)
        return tuple(f"{volume}: {warning}" for warning in dict.fromkeys(about))

    def open(self, volume: str) -> GuestFileSystem:
        """Return the file system of a volume. Its warnings are told the first time.

        :raises NotFoundError: there is no such volume.
        :raises UnsupportedError: files of it cannot be read; the message names the way out.
        :raises CorruptError: it contradicts itself, or a block of the point is damaged.
        """
        if volume not in self._opened:
            found = self._found.get(volume)
            if found is None:
                names = ", ".join(name for name, each in self._found.items() if each.has_files) or "none"
                raise NotFoundError(f"{self.point.ref} has no volume '{volume}'; those with files: {names}")
            disk = found.open()
            self._opened[volume] = self._stack.enter_context(open_file_system(disk, found.kind, what=volume))
            for warning in self.warnings_of(volume):
                self._tell(warning)
        return self._opened[volume]

    def entry(self, at: FilePath) -> FileEntry:
        """Return the entry at a path.

        :raises NotFoundError: there is none. If a symbolic link lies on the way, the message names it.
        """
        files = self.open(at.volume)
        try:
            return files.entry(at.path)
        except NotFoundError as error:
            raise NotFoundError(f"{at} is not in {self.point.ref}{_link_on_the_way(files, at)}") from error


def _link_on_the_way(files: GuestFileSystem, at: FilePath) -> str:
    """Return a hint if a path leads through a symbolic link, which is not followed."""
    parts = at.path.strip("/").split("/")
    for count in range(1, len(parts)):
        with suppress(VmKeepError):
            entry = files.entry("/" + "/".join(parts[:count]))
            if entry.kind is FileKind.SYMLINK:
                return (
                    f": {entry.path} is a symbolic link to '{entry.target}', which is not followed; ask for that path"
                )
    return ""


@contextmanager
def open_point_files(repository: Repository, text: str, *, doing: str, tell: Tell) -> Iterator[PointFiles]:
    """Open the files of a restore point until the context is left. Nobody deletes the point meanwhile.

    :param text: the point, as a person names it.
    :param doing: the word for this use of the point that others see.
    :param tell: takes each warning about the point or a volume, before anything of it is read.
    :raises NotFoundError: there is no such point.
    :raises UnsupportedError: the point holds no disk.
    :raises CorruptError: the root of a disk's map is damaged.
    """
    point = repository.find_point(text)
    if not point.images:
        raise UnsupportedError(f"restore point {point.ref} holds no disk")
    warnings = about_content(repository, point, work="reading")
    for warning in warnings:
        tell(warning)
    with ExitStack() as stack:
        stack.enter_context(repository.uses.open(point.ref, doing=doing))
        views = stack.enter_context(open_views(repository))
        disks = [
            DiskInGuest(
                number=number,
                label=image.disk.label,
                disk=views.open(image.root, what=f"restore point {point.ref}, {image.disk.label}"),
            )
            for number, image in point.numbered.items()
        ]
        yield PointFiles(point, warnings, tuple(find_volumes(disks)), stack, tell)


def list_files(
    opened: PointFiles,
    at: FilePath,
    *,
    recursive: bool = False,
    sha256: bool = False,
    on_progress: OnProgress = lambda _progress: None,
) -> Iterator[ListedFile]:
    """Yield the entries of a folder, sorted by name; or a file alone.

    :param recursive: also those of all folders below, each folder's own entries first.
    :param sha256: read each file, and tell the SHA-256 of its content.
    :raises NotFoundError: there is no such path.
    :raises CorruptError: the folder cannot be read. Below it, such an error is the problem of its entry.
    """
    files = opened.open(at.volume)
    top = opened.entry(at)
    meter = _Meter("hash", on_progress)
    if top.kind is not FileKind.FOLDER:
        yield _listed(files, at.volume, top, sha256, meter)
    elif recursive:
        yield from _list_below(files, at.volume, top, sha256, meter)
    else:
        for entry in sorted(files.entries(top.path), key=lambda entry: entry.name):
            yield _listed(files, at.volume, entry, sha256, meter)


def find_files(opened: PointFiles, at: FilePath, wanted: Wanted) -> Iterator[ListedFile]:
    """Yield the entries below a path that meet all conditions, and those that cannot be read, with the problem."""
    fits = wanted.test()
    for listed in list_files(opened, at, recursive=True):
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


def _list_below(
    files: GuestFileSystem, volume: str, top: FileEntry, sha256: bool, meter: _Meter
) -> Iterator[ListedFile]:
    """Yield all entries below a folder. A folder is told when it is entered."""
    failed: list[ListedFile] = []

    def note(path: str, error: VmKeepError) -> None:
        if not isinstance(error, CorruptError | UnsupportedError | NotFoundError):
            raise error
        entry = FileEntry(path=path, kind=FileKind.FOLDER, size=0, modified=None)
        failed.append(ListedFile(volume=volume, entry=entry, problem=str(error)))

    for step, entry in walk(files, top, note, ordered=True):
        yield from failed
        failed.clear()
        if step is not Step.LEAVE and entry is not top:
            yield _listed(files, volume, entry, sha256, meter)
    yield from failed


def _listed(files: GuestFileSystem, volume: str, entry: FileEntry, sha256: bool, meter: _Meter) -> ListedFile:
    if not sha256 or entry.kind is not FileKind.FILE:
        return ListedFile(volume=volume, entry=entry)
    try:
        digest = sha256_of(files, entry, meter.add)
    except (CorruptError, UnsupportedError) as error:
        return ListedFile(volume=volume, entry=entry, problem=str(error))
    return ListedFile(volume=volume, entry=entry, sha256=digest)


class _Meter:
    """Tells how many bytes were read, of a work whose size nobody knows before."""

    def __init__(self, phase: str, on_progress: OnProgress) -> None:
        self._phase = phase
        self._on_progress = on_progress
        self._done = 0

    def add(self, count: int) -> None:
        """Count bytes."""
        self._done += count
        self._on_progress(Progress(phase=self._phase, bytes_done=self._done, bytes_total=0))
