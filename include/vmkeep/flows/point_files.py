"""Opens the volumes and the files in a restore point, without a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from vmkeep.errors import NotFoundError, UnsupportedError, UsageError, VmKeepError
from vmkeep.flows.guest_disks import disks_in_guest, disks_not_in_backup
from vmkeep.flows.point_doubts import about_content
from vmkeep.guest.filesystems import open_file_system
from vmkeep.guest.volumes import Volume, find_volumes
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem
from vmkeep.model.point import RestorePoint
from vmkeep.repository import Repository
from vmkeep.transfer import open_views

__all__ = ["FilePath", "PointFiles", "ShownVolume", "make_file_path", "open_point_files", "parse_file_path"]

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


def parse_file_path(text: str) -> FilePath:
    """Return the volume and the path that ``VOLUME:/path`` names. A volume alone names its root.

    :raises UsageError: it has no volume, or leads upwards.
    """
    volume, colon, path = text.partition(":")
    if not volume or (colon and path and not path.startswith("/")):
        raise UsageError(f"'{text}' is no place of files: write VOLUME:/path, e.g. disk0p1:/etc/hosts")
    return make_file_path(volume, path)


def make_file_path(volume: str, path: str) -> FilePath:
    """Return a path in a volume, without its empty parts.

    :raises UsageError: it leads upwards.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"'{volume}:{path}': write the path without '..'")
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
            hint = _link_on_the_way(files, at) or _escapes(at)
            raise NotFoundError(f"{at} is not in {self.point.ref}{hint}") from error


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
        disks = disks_in_guest(views, point)
        missing = disks_not_in_backup(point)
        yield PointFiles(point, warnings, tuple(find_volumes(disks, missing)), stack, tell)


def _escapes(at: FilePath) -> str:
    """Return a hint if a path may have been copied from a listing, which shows some characters as escapes."""
    if "\\" not in at.path:
        return ""
    return ": a listing shows a backslash and what a terminal would obey as escapes; --json has the names as they are"
