"""Locks an image as QEMU does, so that neither writes to an image that the other one uses.

QEMU locks some of the bytes from 100 to 299 of each image that it has open, with locks that belong to the open file.
Source: QEMU's ``block/file-posix.c``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmkeep.errors import ConflictError, NotFoundError

_FIRST, _LENGTH = 100, 200
_WRITES = 101
"""The byte that a program locks while it may write to the image."""
_FLOCK = struct.Struct("hh4xqqi4x")
"""Linux's ``struct flock`` on 64 bits: type, whence, start, length, process."""
_TAKEN = (errno.EAGAIN, errno.EACCES)


class LockedImage:
    """An image that nobody else may open meanwhile."""

    def __init__(self, path: Path, file: int) -> None:
        self._path = path
        self._file = file

    def require_there(self) -> None:
        """Return if the path still leads to the file that is locked.

        :raises ConflictError: another process has removed the file, or put another one in its place.
        """
        try:
            there = os.path.samestat(self._path.stat(), os.fstat(self._file))
        except OSError:
            there = False
        if not there:
            raise ConflictError(
                f"{self._path}: another process has replaced the image meanwhile; what was written is in the old file"
            )


@contextmanager
def locked_image(path: Path, *, readers: bool = True) -> Iterator[LockedImage]:
    """Keep an image from being opened by QEMU, or by another process that puts a point onto it.

    :param readers: also by programs that only read.
    :raises ConflictError: somebody has it open.
    :raises NotFoundError: there is no such file, or it may not be written.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise NotFoundError(f"{path}: cannot be opened for writing: {error.strerror}") from error
    try:
        first, length = (_FIRST, _LENGTH) if readers else (_WRITES, 1)
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, length, 0))
        except OSError as error:
            if error.errno in _TAKEN:
                raise ConflictError(f"{path}: is in use, by QEMU or another vmkeep; nothing was written") from error
            # Some file systems know no locks. Nobody can tell there whether somebody else has the image open.
        yield LockedImage(path, file)
    finally:
        os.close(file)


def is_written(file: int) -> bool:
    """Return whether a program has the image of a descriptor open for writing.

    :raises OSError: the file system knows no locks.
    """
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _WRITES, 1, 0)
    return bool(_FLOCK.unpack(fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0] != fcntl.F_UNLCK)
