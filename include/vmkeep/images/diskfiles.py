"""Reads and writes a local file or block device as a disk."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vmkeep.clock import now
from vmkeep.errors import ConflictError, NotFoundError, StoreFullError, TransferError, UsageError
from vmkeep.filereader import FileReader
from vmkeep.model.extents import Extent, Extents, gather, split
from vmkeep.processes import ABANDONED_AFTER

SECTOR = 512
_ZEROES = bytes(1 << 20)
_PUNCH = 0x4030582B
"""The request ``FS_IOC_UNRESVSP64``, by which Linux since 5.6 gives back the space of a range on every file system with
holes. Python has no ``fallocate``. Source: ``linux/falloc.h``."""
_RANGE = struct.Struct("hh4xqqiI16x")
"""Its range: type, whence, start, length, and two numbers that mean nothing here."""


class LocalFileSource:
    """A raw disk image, or a block device. A context manager."""

    transport = "file"

    def __init__(self, path: Path) -> None:
        """Open the file.

        :raises NotFoundError: there is no such file, or it cannot be read.
        :raises UsageError: the file is not a whole number of sectors.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # not to wait for ever at a pipe
            if stat.S_ISDIR(os.fstat(self._file).st_mode):
                raise IsADirectoryError(errno.EISDIR, "is a folder, not a disk image")
            self.capacity = os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from error
        if not self.capacity or self.capacity % SECTOR:
            os.close(self._file)
            raise UsageError(f"{path}: {self.capacity} bytes are not a whole number of {SECTOR}-byte sectors")

    def __enter__(self) -> LocalFileSource:  # noqa: PYI034 - Self would hide the protocol from readers
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file."""
        os.close(self._file)

    def allocated(self) -> Extents | None:
        """Return the extents that hold data; ``None``: the file system does not tell."""
        return _allocated(self._file, self.capacity)

    @contextmanager
    def open_reader(self, extents: Sequence[Extent], *, piece_size: int, depth: int) -> Iterator[FileReader]:
        """Read ``extents``; see :class:`vmkeep.model.blockio.DiskSource`."""
        buffers = depth + (os.cpu_count() or 1)
        ahead = buffers * piece_size
        name = str(self._path)
        reader = FileReader(self._file, name, extents, piece_size=piece_size, buffers=buffers, ahead=ahead)
        try:
            yield reader
        finally:
            reader.close()


class LocalFileTarget:
    """A raw disk image being written. A context manager."""

    transport = "file"

    def __init__(self, path: Path, *, capacity: int, create: bool) -> None:
        """Create a sparse file, or open an existing file or device of exactly that capacity.

        A created file stays locked until it is closed, so that :func:`remove_abandoned` can tell that it is still being
        written.

        :param capacity: bytes.
        :raises ConflictError: the file exists already (with ``create``), or has another size.
        """
        self._path = path
        self.capacity = capacity
        self._punches = True
        try:
            self._file = _create_locked(path) if create else os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileExistsError as error:
            raise ConflictError(f"{path}: exists already; nothing was written") from error
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            if create:
                os.ftruncate(self._file, capacity)
            elif (size := os.lseek(self._file, 0, os.SEEK_END)) != capacity:
                raise ConflictError(f"{path}: has {size} bytes, the disk has {capacity}")
        except OSError as error:
            os.close(self._file)
            raise self._error(error, capacity) from error
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> LocalFileTarget:  # noqa: PYI034
        """Use as a context manager."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the file."""
        os.close(self._file)

    def allocated(self) -> Extents | None:
        """Return the extents that hold data; ``None``: the file system does not tell."""
        return _allocated(self._file, self.capacity)

    def write(self, start: int, data: memoryview) -> None:
        """Write bytes at an offset."""
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._file, data[done:], start + done)
        except OSError as error:
            raise self._error(error, len(data)) from error

    def write_zeroes(self, start: int, length: int) -> None:
        """Make a range read as zeros: a hole where the file can have one, or else by writing zeros over it."""
        if self._punch(start, length):
            return
        zeroes = memoryview(_ZEROES)
        for extent in split([Extent(start, start + length)], len(_ZEROES)):
            self.write(extent.start, zeroes[: extent.length])

    def _punch(self, start: int, length: int) -> bool:
        """Give back the space of a range. Return whether that is possible: not on devices and on some file systems."""
        if self._punches:
            try:
                fcntl.ioctl(self._file, _PUNCH, _RANGE.pack(0, os.SEEK_SET, start, length, 0, 0))
            except OSError:
                self._punches = False
        return self._punches

    def flush(self) -> None:
        """Return once all writes are on disk."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._error(error, 0) from error

    def _error(self, error: OSError, needed: int) -> Exception:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return StoreFullError(f"{self._path}: no space left ({needed} bytes more are needed): {error.strerror}")
        return TransferError(f"{self._path}: cannot be written: {error.strerror}")


def remove_abandoned(files: Iterable[Path]) -> None:
    """Remove those files that a process created as a target, but did not finish before it died.

    The kernel releases the lock of a dead process. Some file systems know no locks, or do not show them to other
    machines. So a file that was written within the last day stays too.
    """
    for path in files:
        with suppress(OSError):  # the file is gone, locked by its living writer, or another user's
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if now().timestamp() - os.fstat(file).st_mtime > ABANDONED_AFTER:
                    path.unlink()
            finally:
                os.close(file)


def _create_locked(path: Path) -> int:
    """Create a file and lock it. Create it again if another process removed it as abandoned before the lock."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640)
        with suppress(OSError):  # on a file system without locks nobody takes a new file for abandoned either
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file
        os.close(file)


def _allocated(file: int, capacity: int) -> Extents | None:
    """Ask the file system for data and holes, which block devices and some file systems do not know."""
    try:
        return gather(_data(file, capacity))
    except OSError:
        return None


def _data(file: int, capacity: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of whole sectors that hold data."""
    at = 0
    while at < capacity:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO and stat.S_ISREG(os.fstat(file).st_mode):
                return  # because only a hole is left
            raise
        at = min(capacity, os.lseek(file, start, os.SEEK_HOLE))
        if at <= start:
            raise OSError(errno.EINVAL, "no hole is ever reached")
        yield start // SECTOR * SECTOR, min(capacity, -(-at // SECTOR) * SECTOR)
