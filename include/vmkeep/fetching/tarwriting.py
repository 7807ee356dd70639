"""Writes a guest's files as a tar archive of the POSIX form (pax).

Times, owners, attributes and long names stand in pax headers; attributes as GNU tar and bsdtar have them
(``SCHILY.xattr.…``), and sparse files in GNU's form 1.0, which both read. Holes take no place in the archive.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from vmkeep.errors import VmKeepError
from vmkeep.fetching.content import extents_of, pieces, read_through
from vmkeep.fetching.kept import attributes_of
from vmkeep.fetching.names import writable_text
from vmkeep.fetching.report import Report
from vmkeep.fetching.walking import Step, Walk
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

_KINDS: Final = {
    FileKind.FILE: tarfile.REGTYPE,
    FileKind.FOLDER: tarfile.DIRTYPE,
    FileKind.SYMLINK: tarfile.SYMTYPE,
    FileKind.PIPE: tarfile.FIFOTYPE,
}
_BLOCK: Final = tarfile.BLOCKSIZE
_RECORD: Final = tarfile.RECORDSIZE

Write = Callable[[bytes | memoryview], object]


def write_tar(write: Write, files: GuestFileSystem, steps: Walk, report: Report, *, top: str) -> None:
    """Write all that a walk finds, and the end of the archive.

    :param top: the name of the top folder, or of the only file, in the archive.
    """
    writer = _TarWriter(write, files, report, top)
    for step, entry in steps:
        writer.take(step, entry)
    writer.end()


class _TarWriter:
    """The place in the archive, and the names of files that have several."""

    def __init__(self, write: Write, files: GuestFileSystem, report: Report, top: str) -> None:
        self._write = write
        self._files = files
        self._report = report
        self._top = top
        self._base: str | None = None
        """Path of the walk's top in the guest."""
        self._written = 0
        self._first_names: dict[int, str] = {}

    def take(self, step: Step, entry: FileEntry) -> None:
        """Carry out one step of the walk."""
        if self._base is None:
            self._base = entry.path
        if step is Step.LEAVE:
            return
        try:
            self._add(entry)
        except VmKeepError as error:
            self._report.fail(entry.path, error)

    def end(self) -> None:
        """Write the end of the archive, filled up to a whole record."""
        self._put(bytes(2 * _BLOCK))
        self._put(bytes(-self._written % _RECORD))

    def _add(self, entry: FileEntry) -> None:
        kind = _KINDS.get(entry.kind)
        if kind is None:
            self._report.leave_out(f"the {entry.kind} itself, which has no content", entry.path)
            return
        name = self._name(entry)
        info, pax = _member(entry, name, kind)
        first = self._first_names.get(entry.identity) if entry.identity is not None and entry.links > 1 else None
        if entry.kind is FileKind.FILE and first is not None:
            info.type, info.linkname = tarfile.LNKTYPE, first
            self._head(info, pax)
            self._report.hard_links += 1
            return
        for key, value in attributes_of(self._files, entry, self._report).items():
            pax[f"SCHILY.xattr.{writable_text(key)}"] = value.decode("utf-8", "surrogateescape")
        if entry.kind is FileKind.FILE:
            self._add_file(entry, name, info, pax)
            return
        self._head(info, pax)
        self._report.folders += entry.kind is FileKind.FOLDER
        self._report.symlinks += entry.kind is FileKind.SYMLINK

    def _add_file(self, entry: FileEntry, name: str, info: tarfile.TarInfo, pax: dict[str, str]) -> None:
        if self._report.keep_going:  # a member that has begun cannot be taken back
            read_through(self._files, entry, self._report.still_at_work)
        data, length = sparse_map(self._files, entry)
        if data is None:
            info.size = entry.size
        else:
            pax |= {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": name,
                "GNU.sparse.realsize": str(entry.size),
            }
            info.name = _sparse_name(name)
            info.size = len(data) + length
        self._head(info, pax)
        self._put(data or b"")
        with self._files.open(entry.path) as content:
            for _, piece in pieces(content, extents_of(self._files, entry), self._report.read):
                self._put(piece)
        self._put(bytes(-self._written % _BLOCK))
        if entry.links > 1 and entry.identity is not None:
            self._first_names[entry.identity] = name
        self._report.done(entry.size)

    def _name(self, entry: FileEntry) -> str:
        assert self._base is not None
        below = entry.path.removeprefix(self._base).strip("/")
        return writable_text("/".join(filter(None, (self._top, below))))

    def _head(self, info: tarfile.TarInfo, pax: dict[str, str]) -> None:
        info.pax_headers = pax
        self._put(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"))

    def _put(self, data: bytes | memoryview) -> None:
        self._write(data)
        self._written += len(data)


def _member(entry: FileEntry, name: str, kind: bytes) -> tuple[tarfile.TarInfo, dict[str, str]]:
    """Return the head of a member, and the facts that stand beside it."""
    info = tarfile.TarInfo(name)
    info.type = kind
    info.mode = entry.mode if entry.mode is not None else 0o755 if entry.kind is FileKind.FOLDER else 0o644
    info.uid, info.gid = entry.uid or 0, entry.gid or 0
    if entry.kind is FileKind.SYMLINK:
        info.linkname = writable_text(entry.target or "")
    pax = {}
    if entry.modified is not None:
        info.mtime = max(0, int(entry.modified.timestamp()))
        pax["mtime"] = _seconds(entry.modified)
    return info, pax


def _seconds(moment: datetime) -> str:
    """Return a time as pax writes it: seconds since 1970, with a fraction."""
    whole = int(moment.replace(microsecond=0).timestamp())
    if whole < 0:
        return f"{moment.astimezone(UTC).timestamp():.6f}"
    return f"{whole}.{moment.microsecond:06}"


def _sparse_name(name: str) -> str:
    """Return the name by which a program that does not know sparse files would unpack one."""
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}GNUSparseFile.0/{last}"


def sparse_map(files: GuestFileSystem, entry: FileEntry) -> tuple[bytes | None, int]:
    """Return the list of a sparse file's extents as GNU tar writes it before the data, and the length of the data.

    The list is ``None`` for a file without holes. A file has at most some million extents; each takes twenty bytes.
    """
    lines, length, count = bytearray(), 0, 0
    for extent in extents_of(files, entry):
        lines += b"%d\n%d\n" % (extent.start, extent.length)
        length += extent.length
        count += 1
    if length == entry.size:
        return None, length
    lines += b"%d\n0\n" % entry.size  # the end, which may be that of a hole
    data = b"%d\n" % (count + 1) + bytes(lines)
    return data + bytes(-len(data) % _BLOCK), length
