"""The pages of a point's files: its volumes, a folder, or the result of a search. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from vmkeep.flows.point_file_list import ListedFile
from vmkeep.flows.point_files import FilePath, ShownVolume, make_file_path
from vmkeep.lateclass import dataclass
from vmkeep.model.guestfiles import FileKind
from vmkeep.web.restore import PointHead
from vmkeep.web.words import Moment, moment, plain, shown_size

FILES_A_PAGE: Final = 200
MOST_FOUND: Final = 500
"""Entries that one search shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesChoice:
    """The part of a point's files that is asked for."""

    volume: str = ""
    """A key of a volume; empty: all volumes are listed."""
    path: str = "/"
    """A key of a path."""
    first: int = 0
    """Number of entries before the page."""
    search: str = ""
    """A part of a name, or a pattern; empty: the folder is listed."""

    @property
    def at(self) -> FilePath:
        """The place that the keys mean.

        :raises UsageError: it leads upwards.
        """
        return make_file_path(text_of(self.volume), text_of(self.path))


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeRow:
    """A volume."""

    key: str
    name: str
    size: str
    kind: str
    label: str
    has_files: bool
    state: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """An entry of a folder."""

    key: str
    """Stands for its path in addresses."""
    name: str
    """As a person sees it, with each invisible character spelled out; of a search, the path."""
    kind: FileKind
    size: int
    shown_size: str
    modified: Moment | None
    owner: str
    target: str
    """The path that a symbolic link names; empty: it is none."""
    problem: str
    """The reason why it cannot be read; empty: nobody has met one."""

    @property
    def is_folder(self) -> bool:
        """Whether it can be opened."""
        return self.kind is FileKind.FOLDER and not self.problem

    @property
    def can_be_fetched(self) -> bool:
        """Whether it has content that a browser can get."""
        return self.kind in (FileKind.FILE, FileKind.FOLDER) and not self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Crumb:
    """A folder on the way to the one that is shown."""

    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesPage:
    """Everything on the page."""

    point: PointHead
    warnings: tuple[str, ...]
    volumes: tuple[VolumeRow, ...]
    volume: str
    """Key of the volume that is open; empty: none is."""
    volume_name: str
    path: str
    """Key of the folder."""
    crumbs: tuple[Crumb, ...]
    rows: tuple[FileRow, ...]
    first: int
    total: int
    """Number of entries of the folder, or of those that were found."""
    newer: int | None
    """Number of entries before the page before this one; ``None``: this is the first."""
    older: int | None
    search: str
    ended_early: str
    """The reason why a search looked not at everything; empty: it did."""


def key_of(text: str) -> str:
    """Return a text that stands for any path in an address, also for one with bytes that are no UTF-8."""
    return "".join(each if each.isprintable() and each != "%" else f"%{ord(each):x};" for each in text)


def text_of(key: str) -> str:
    """Return the text that a key stands for. What is no key stands for itself."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), key)


_ESCAPED: Final = re.compile(r"%(10[0-9a-f]{4}|[0-9a-f]{1,5});")


def pattern_of(search: str) -> str:
    """Return the pattern that a search means: a part of a name, unless it is a pattern already."""
    return search if "*" in search or "?" in search else f"*{search}*"


def files_page(
    point: PointHead,
    choice: FilesChoice,
    *,
    volumes: Iterable[ShownVolume],
    warnings: Sequence[str],
    listed: Sequence[ListedFile] = (),
    total: int = 0,
    ended_early: str = "",
    now: datetime,
) -> FilesPage:
    """Return the page of what was found.

    :param listed: the entries of the page.
    :param total: number of all entries.
    """
    size = MOST_FOUND if choice.search else FILES_A_PAGE
    at = choice.at
    return FilesPage(
        point=point,
        warnings=tuple(plain(each) for each in warnings),
        volumes=tuple(_volume(each) for each in volumes),
        volume=choice.volume,
        volume_name=plain(at.volume),
        path=key_of(at.path),
        crumbs=tuple(_crumbs(at.path)),
        rows=tuple(_row(each, now, whole=bool(choice.search)) for each in listed),
        first=choice.first,
        total=total,
        newer=max(0, choice.first - size) if choice.first else None,
        older=choice.first + size if choice.first + size < total and not choice.search else None,
        search=choice.search,
        ended_early=ended_early,
    )


def _volume(volume: ShownVolume) -> VolumeRow:
    return VolumeRow(
        key=key_of(volume.name),
        name=plain(volume.name),
        size=shown_size(volume.size),
        kind=plain(volume.kind),
        label=plain(volume.label),
        has_files=volume.has_files,
        state=plain(volume.state if volume.has_files else volume.reason or volume.state),
        warnings=tuple(plain(each) for each in volume.warnings),
    )


def _crumbs(path: str) -> Iterable[Crumb]:
    above = ""
    for part in filter(None, path.split("/")):
        above += f"/{part}"
        yield Crumb(name=plain(part), key=key_of(above))


def _row(listed: ListedFile, now: datetime, *, whole: bool) -> FileRow:
    entry = listed.entry
    return FileRow(
        key=key_of(entry.path),
        name=plain(entry.path if whole else entry.name) or "/",
        kind=entry.kind,
        size=entry.size,
        shown_size=shown_size(entry.size) if entry.kind is FileKind.FILE else "",
        modified=moment(entry.modified, now),
        owner="" if entry.uid is None else f"{entry.uid}:{entry.gid}",
        target=plain(entry.target or ""),
        problem=plain(listed.problem),
    )
