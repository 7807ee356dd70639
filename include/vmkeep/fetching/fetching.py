"""Writes a file or a folder of a guest in the form that was asked for, reads it back, and gives it its name."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from blake3 import blake3

from vmkeep.errors import UnsupportedError, UsageError, VerificationError, VmKeepError
from vmkeep.fetching.content import PIECE, whole
from vmkeep.fetching.drafts import file_draft, folder_draft
from vmkeep.fetching.folderwriting import write_content, write_folder
from vmkeep.fetching.kept import keep_facts
from vmkeep.fetching.readingback import require_same
from vmkeep.fetching.report import Report
from vmkeep.fetching.tarwriting import Write, write_tar
from vmkeep.fetching.walking import Step, Walk, walk
from vmkeep.fetching.zipwriting import OneWay, write_zip
from vmkeep.lateclass import dataclass
from vmkeep.model.fetched import FetchForm
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """The entries to write, and the place for them."""

    files: GuestFileSystem
    entry: FileEntry
    """The file or the folder."""
    name: str
    """Its name in an archive."""
    form: FetchForm | None
    """``None``: a single file as it is."""
    out: Path | None
    """A path that is free; ``None``: the stream."""


def require_possible(entry: FileEntry, form: FetchForm | None, *, streamed: bool) -> None:
    """Return if an entry can be written in a form.

    :raises UsageError: the form does not fit.
    :raises UnsupportedError: the entry is neither a file nor a folder.
    """
    if entry.kind is FileKind.SYMLINK:
        raise UnsupportedError(f"{entry.path} is a symbolic link to '{entry.target}': ask for that path instead")
    if entry.kind not in (FileKind.FILE, FileKind.FOLDER):
        raise UnsupportedError(f"{entry.path} is a {entry.kind}, which has no content")
    if entry.kind is FileKind.FILE and form is FetchForm.FOLDER:
        raise UsageError(f"{entry.path} is a file: leave out the format, or choose tar or zip")
    if streamed and entry.kind is FileKind.FOLDER and form not in (FetchForm.TAR, FetchForm.ZIP):
        raise UsageError("standard output takes a single file, or an archive (--format tar or zip)")


def fetch(order: Fetch, report: Report, *, stream: Callable[[bytes | memoryview], object]) -> None:
    """Write a file or a folder. Unless it becomes complete, nothing of it stays.

    :param stream: takes the bytes if there is no path. Those that it took before an error are cut off.
    :raises CorruptError: a block of the point is damaged, or the file system contradicts itself; the file is named.
    :raises ConflictError: the path is taken.
    :raises VerificationError: other bytes came back than were written.
    """
    if order.out is None:
        if order.form is FetchForm.TAR:
            write_tar(stream, order.files, _steps(order, report), report, top=order.name)
        elif order.form is FetchForm.ZIP:
            write_zip(OneWay(stream), order.files, _steps(order, report), report, top=order.name)
        else:
            _alone(order, report, lambda: _stream_content(order, report, stream))
        return
    if order.form is FetchForm.FOLDER:
        with folder_draft(order.out) as draft:
            write_folder(draft, order.files, _steps(order, report), report)
        return
    with file_draft(order.out) as file:
        if order.form is None:
            _alone(order, report, lambda: _write_file(file, order, report))
        elif order.form is FetchForm.TAR:
            _write_tar(file, order, report)
        else:
            _write_zip(file, order, report)


def _steps(order: Fetch, report: Report) -> Walk:
    if order.entry.kind is FileKind.FOLDER:
        return walk(order.files, order.entry, report.fail)
    return iter([(Step.ENTRY, order.entry)])


def _alone(order: Fetch, report: Report, work: Callable[[], None]) -> None:
    """Write one file. Its failure is that of all."""
    report.keep_going = False
    try:
        work()
    except VerificationError:
        raise
    except VmKeepError as error:
        report.fail(order.entry.path, error)


def _write_file(file: int, order: Fetch, report: Report) -> None:
    digest = write_content(file, order.files, order.entry, report)
    keep_facts(file, order.files, order.entry, report)
    os.fsync(file)
    require_same(file, order.entry.size, digest, order.entry.path)


def _stream_content(order: Fetch, report: Report, stream: Write) -> None:
    for piece in whole(order.files, order.entry, report.read):
        stream(piece)
    report.done(order.entry.size)


def _write_tar(file: int, order: Fetch, report: Report) -> None:
    digest = blake3()

    def write(data: bytes | memoryview) -> None:
        digest.update(data)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(file, rest) :]

    write_tar(write, order.files, _steps(order, report), report, top=order.name)
    _forget(file)
    os.lseek(file, 0, os.SEEK_SET)
    back = blake3()
    while part := os.read(file, PIECE):
        back.update(part)
    if back.digest() != digest.digest():
        raise VerificationError(f"{order.out}: {_DIFFERS}")


def _write_zip(file: int, order: Fetch, report: Report) -> None:
    with os.fdopen(os.dup(file), "r+b") as out:
        write_zip(out, order.files, _steps(order, report), report, top=order.name)
    _forget(file)
    with os.fdopen(os.dup(file), "rb") as out:
        try:
            bad = zipfile.ZipFile(out).testzip()
        except zipfile.BadZipFile as error:
            raise VerificationError(f"{order.out}: {_DIFFERS} ({error})") from error
    if bad is not None:
        raise VerificationError(f"{order.out}: {_DIFFERS} ('{bad}')")


def _forget(file: int) -> None:
    """Let the next read of a file come from the disk, as far as the system does that."""
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


_DIFFERS: Final = "other bytes came back than were written: check this disk"
