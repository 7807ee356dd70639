"""Writes a guest's folder as a folder of this machine.

Each call names one part of a path, in a folder that is open, and follows no link. So nothing that a stranger named
leads out of the draft. Names that this machine's file system takes for one, e.g. because it ignores case, are an error
of the second file. Each file is read back, and compared with what was read from the point.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vmkeep.errors import UnsupportedError, VerificationError, VmKeepError
from vmkeep.fetching.content import extents_of, pieces
from vmkeep.fetching.digests import ZEROS, ContentDigest
from vmkeep.fetching.kept import keep_facts, nanoseconds
from vmkeep.fetching.names import name_bytes
from vmkeep.fetching.readingback import ReadBack
from vmkeep.fetching.report import Report
from vmkeep.fetching.walking import Step, Walk
from vmkeep.model.guestfiles import FileEntry, FileKind, GuestFileSystem

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OF_NAME: Final = {errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EPERM, errno.EFBIG, errno.EMLINK}
"""Errors of one name or one file. All others, e.g. that the disk is full, end the work."""


def write_folder(draft: Path, files: GuestFileSystem, steps: Walk, report: Report) -> None:
    """Write all that a walk finds.

    :param draft: an empty folder that stands for the top of the walk.
    """
    with ReadBack() as written:
        writer = _FolderWriter(draft, files, report, written)
        try:
            for step, entry in steps:
                writer.take(step, entry)
        finally:
            writer.close()


def write_content(file: int, files: GuestFileSystem, entry: FileEntry, report: Report) -> bytes:
    """Write the data of a guest's file into an empty file, and leave its holes. Return the digest of the data.

    :raises CorruptError: the file cannot be read.
    """
    os.ftruncate(file, entry.size)
    digest = ContentDigest(entry.size)
    with files.open(entry.path) as content:
        for at, piece in pieces(content, extents_of(files, entry), report.read):
            if piece != ZEROS[: len(piece)]:
                _write_all(file, at, piece)
            digest.add(at, piece)
    report.done(entry.size)
    return digest.value()


def _write_all(file: int, at: int, piece: memoryview) -> None:
    while piece:
        count = os.pwrite(file, piece, at)
        at, piece = at + count, piece[count:]


class _FolderWriter:
    """The folder that was entered last, and the names of files that have several."""

    def __init__(self, draft: Path, files: GuestFileSystem, report: Report, written: ReadBack) -> None:
        self._files = files
        self._report = report
        self._written = written
        self._at = os.open(draft, _FOLDER)
        self._path: list[bytes] = []
        """The parts of the way from the draft to the folder that is open."""
        self._skipping = 0
        """Folders entered since one that could not be made."""
        self._top = os.dup(self._at)
        self._started = False
        self._first_names: dict[int, list[bytes]] = {}

    def close(self) -> None:
        os.close(self._at)
        os.close(self._top)

    def take(self, step: Step, entry: FileEntry) -> None:
        """Carry out one step of the walk."""
        match step:
            case Step.ENTER if self._skipping:
                self._skipping += 1
            case Step.LEAVE if self._skipping:
                self._skipping -= 1
            case Step.ENTER:
                self._enter(entry)
            case Step.LEAVE:
                self._leave(entry)
            case Step.ENTRY if not self._skipping:
                self._attempt(entry)

    def _enter(self, entry: FileEntry) -> None:
        self._report.folders += 1
        if not self._started:
            self._started = True
            return
        name = name_bytes(entry.name)
        try:
            with _naming():
                os.mkdir(name, 0o700, dir_fd=self._at)
        except VmKeepError as error:
            self._report.fail(entry.path, error)
            self._skipping = 1
            return
        below = os.open(name, _FOLDER, dir_fd=self._at)
        os.close(self._at)
        self._at = below
        self._path.append(name)

    def _leave(self, entry: FileEntry) -> None:
        above = os.open("..", _FOLDER, dir_fd=self._at) if self._path else os.dup(self._at)
        try:
            keep_facts(self._at, self._files, entry, self._report)
        except VmKeepError as error:
            self._report.fail(entry.path, error)
        finally:
            os.close(self._at)
            self._at = above
        if self._path:
            self._path.pop()

    def _attempt(self, entry: FileEntry) -> None:
        try:
            with _naming():
                self._make(entry)
        except VmKeepError as error:
            if isinstance(error, VerificationError):
                raise
            self._report.fail(entry.path, error)

    def _make(self, entry: FileEntry) -> None:
        name = name_bytes(entry.name)
        match entry.kind:
            case FileKind.FILE:
                if not self._linked(name, entry):
                    self._make_file(name, entry)
            case FileKind.SYMLINK:
                os.symlink(name_bytes(entry.target or ""), name, dir_fd=self._at)
                self._report.symlinks += 1
                self._keep_of_link(name, entry)
            case _:
                self._report.leave_out(f"the {entry.kind} itself, which has no content", entry.path)

    def _keep_of_link(self, name: bytes, entry: FileEntry) -> None:
        if os.geteuid() == 0 and entry.uid is not None and entry.gid is not None:
            os.chown(name, entry.uid, entry.gid, dir_fd=self._at, follow_symlinks=False)
        if entry.modified is not None:
            os.utime(name, ns=(nanoseconds(entry.modified),) * 2, dir_fd=self._at, follow_symlinks=False)

    def _make_file(self, name: bytes, entry: FileEntry) -> None:
        file = os.open(name, _NEW, 0o600, dir_fd=self._at)
        try:
            digest = write_content(file, self._files, entry, self._report)
            keep_facts(file, self._files, entry, self._report)
        except BaseException:
            os.close(file)
            os.unlink(name, dir_fd=self._at)
            raise
        self._written.add(file, entry.size, digest, entry.path)
        if entry.links > 1 and entry.identity is not None:
            self._first_names[entry.identity] = [*self._path, name]

    def _linked(self, name: bytes, entry: FileEntry) -> bool:
        """Make a further name of a file that was written before; return whether there is one."""
        if entry.links < 2 or entry.identity is None or (first := self._first_names.get(entry.identity)) is None:
            return False
        folder = os.dup(self._top)
        try:
            for part in first[:-1]:
                below = os.open(part, _FOLDER, dir_fd=folder)
                os.close(folder)
                folder = below
            os.link(first[-1], name, src_dir_fd=folder, dst_dir_fd=self._at, follow_symlinks=False)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES):
                raise
            return False  # this file system has no hard links, or not so many
        finally:
            os.close(folder)
        self._report.hard_links += 1
        return True


@contextmanager
def _naming() -> Iterator[None]:
    """Turn errors of the operating system about one name into ours."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EEXIST:
            raise UnsupportedError(
                "a file whose name this machine's file system takes for the same is there already; choose a tar archive"
            ) from None
        if error.errno in _OF_NAME:
            raise UnsupportedError(f"it cannot be written here: {error.strerror}; choose a tar archive") from None
        raise
