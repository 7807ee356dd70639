"""A guest's file system in memory, for tests of programs that read files of any file system."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from vmkeep.errors import CorruptError, NotFoundError
from vmkeep.model.extents import Extent
from vmkeep.model.guestfiles import FileEntry, FileKind, OnBadEntry
from vmkeep.model.prints import UNKNOWN, Print, Prints

WHEN = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)


def file(path: str, content: bytes = b"", **fields: object) -> tuple[FileEntry, bytes]:
    """Return an entry of a file and its content."""
    entry = FileEntry(path=path, kind=FileKind.FILE, size=len(content), modified=WHEN, changed=WHEN)
    return replace(entry, **fields), content  # type: ignore[arg-type]


def folder(path: str, **fields: object) -> tuple[FileEntry, bytes]:
    """Return an entry of a folder."""
    entry = FileEntry(path=path, kind=FileKind.FOLDER, size=0, modified=WHEN, changed=WHEN)
    return replace(entry, **fields), b""  # type: ignore[arg-type]


@dataclass
class MemoryFiles:
    """Entries and contents by path, as a :class:`vmkeep.model.guestfiles.GuestFileSystem`."""

    made: Mapping[str, tuple[FileEntry, bytes]]
    kind: str = "ext4"
    warnings: tuple[str, ...] = ()
    own_folders: tuple[str, ...] = ()
    has_prints: bool = True
    damaged: set[str] = field(default_factory=set)
    """Folders and files that contradict themselves."""

    @classmethod
    def of(cls, *made: tuple[FileEntry, bytes], **fields: object) -> MemoryFiles:
        """Make a file system of entries."""
        return cls({entry.path: (entry, content) for entry, content in made}, **fields)  # type: ignore[arg-type]

    def entry(self, path: str) -> FileEntry:
        if path not in self.made:
            raise NotFoundError(f"there is no {path}")
        return self.made[path][0]

    def entries(self, path: str, on_bad: OnBadEntry | None = None) -> Iterator[FileEntry]:
        if path in self.damaged:
            raise CorruptError(f"folder {path} contradicts itself")
        if path != "/" and self.entry(path).kind is not FileKind.FOLDER:
            raise NotFoundError(f"{path} is no folder")
        above = "" if path == "/" else path
        return (entry for entry, _ in self.made.values() if entry.path.rpartition("/")[0] == above)

    def open(self, path: str) -> io.BytesIO:
        self.entry(path)
        if path in self.damaged:
            raise CorruptError(f"file {path} contradicts itself")
        return io.BytesIO(self.made[path][1])

    def data_extents(self, path: str) -> Iterator[Extent]:
        yield Extent(0, self.entry(path).size)

    def prints(self, path: str) -> Prints:
        content = self.open(path).getvalue()
        if content:
            yield Extent(0, len(content)), Print(content) if self.has_prints else UNKNOWN

    def attributes(self, path: str) -> dict[str, bytes]:
        return {}
