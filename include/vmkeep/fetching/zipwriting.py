"""Writes a guest's files as a zip archive, for people whose machine has no tar.

A zip archive holds names, content, modes, times and symbolic links. It holds no owner, no extended attribute and no
hard link: each name of a file has the content again. Holes are zeros, which take hardly any place.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from io import RawIOBase
from typing import Any, BinaryIO, Final

from vmkeep.errors import UsageError, VmKeepError
from vmkeep.fetching.content import read_through, whole
from vmkeep.fetching.names import check_zip_name, name_bytes
from vmkeep.fetching.report import Report
from vmkeep.fetching.walking import Step, Walk
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

_LEVEL: Final = 1
_EARLIEST, _LATEST = 1980, 2107
_UNIX: Final = 3
_TYPES: Final = {FileKind.FILE: 0o100000, FileKind.FOLDER: 0o040000, FileKind.SYMLINK: 0o120000}
_MOST: Final = 200_000
"""Most members of an archive, because their list is kept in memory until the end."""
_OTHERS_LOST: Final = "owner, attributes, and hard links as such: a zip archive has none; a tar archive does"


class OneWay(RawIOBase):
    """A file that can only be written on. What was taken cannot be taken back.

    After an error the archive ends where it is. Its list of members, which Python writes all the same, would make a
    part of the files look like all of them.
    """

    def __init__(self, take: Callable[[bytes | memoryview], object]) -> None:
        super().__init__()
        self._take = take
        self._is_cut = False

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, data: Any) -> int:
        """Hand bytes on."""
        if not self._is_cut:
            self._take(data)
        return len(data)

    def cut(self) -> None:
        """Hand on nothing any more."""
        self._is_cut = True


def write_zip(out: BinaryIO | OneWay, files: GuestFileSystem, steps: Walk, report: Report, *, top: str) -> None:
    """Write all that a walk finds.

    :param out: a file. If it cannot be sought, the sizes stand behind the content, as the form allows.
    :param top: the name of the top folder, or of the only file, in the archive.
    """
    base: str | None = None
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        try:
            for step, entry in steps:
                base = entry.path if base is None else base
                if step is Step.LEAVE:
                    continue
                below = entry.path.removeprefix(base).strip("/")
                try:
                    _add(archive, files, entry, "/".join(filter(None, (top, below))), report)
                except VmKeepError as error:
                    report.fail(entry.path, error)
        except BaseException:
            if isinstance(out, OneWay):
                out.cut()
            raise


def _add(archive: zipfile.ZipFile, files: GuestFileSystem, entry: FileEntry, name: str, report: Report) -> None:
    check_zip_name(name)
    if len(archive.filelist) >= _MOST:
        raise UsageError(f"a zip archive takes at most {_MOST:,} files here; choose a tar archive or a folder")
    if entry.kind not in _TYPES:
        report.leave_out(f"the {entry.kind} itself, which has no content", entry.path)
        return
    if entry.uid or entry.links > 1:
        report.leave_out(_OTHERS_LOST, entry.path)
    info = _member(entry, name)
    if entry.kind is FileKind.FOLDER:
        archive.writestr(info, b"")
        report.folders += 1
    elif entry.kind is FileKind.SYMLINK:
        archive.writestr(info, name_bytes(entry.target or ""))
        report.symlinks += 1
    else:
        if report.keep_going:  # a member that has begun cannot be taken back
            read_through(files, entry, report.still_at_work)
        _add_content(archive, files, entry, info, report)


def _add_content(
    archive: zipfile.ZipFile, files: GuestFileSystem, entry: FileEntry, info: zipfile.ZipInfo, report: Report
) -> None:
    with archive.open(info, "w", force_zip64=entry.size >= zipfile.ZIP64_LIMIT // 2) as member:
        for piece in whole(files, entry, report.read):
            member.write(piece)
    report.done(entry.size)


def _member(entry: FileEntry, name: str) -> zipfile.ZipInfo:
    moment = entry.modified or datetime(_EARLIEST, 1, 1, tzinfo=UTC)
    shown = moment.astimezone(UTC)
    if not _EARLIEST <= shown.year <= _LATEST:
        shown = datetime(_EARLIEST if shown.year < _EARLIEST else _LATEST, 1, 1, tzinfo=UTC)
    folder = entry.kind is FileKind.FOLDER
    info = zipfile.ZipInfo(f"{name}/" if folder else name, shown.timetuple()[:6])
    info.create_system = _UNIX
    mode = entry.mode if entry.mode is not None else 0o755 if folder else 0o644
    info.external_attr = (_TYPES[entry.kind] | mode & 0o777) << 16 | (0x10 if folder else 0)
    info.compress_type = zipfile.ZIP_STORED if folder or entry.kind is FileKind.SYMLINK else zipfile.ZIP_DEFLATED
    seconds = int(moment.timestamp())
    if entry.modified is not None and -(1 << 31) <= seconds < 1 << 31:  # the time in UTC, which programs prefer
        info.extra = struct.pack("<HHBi", 0x5455, 5, 1, seconds)
    return info
