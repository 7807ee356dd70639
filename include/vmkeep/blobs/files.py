"""Reads and compares files of a local file system, and syncs folders, so that names of files reach the disk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmkeep.blobs.store import Bytes
from vmkeep.errors import CorruptError, StoreError

NO_FILE = (errno.EISDIR, errno.ELOOP, errno.ENXIO)
"""Error numbers of an attempt to open something that is no file: a folder, a link to itself, a socket."""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file for reading. If a pipe lies in its place, do not wait for the pipe's other end.

    :raises CorruptError: the path is no file.
    """
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        require_file(path, os.fstat(file))
        yield file
    finally:
        os.close(file)


def read_whole(path: Path) -> bytes:
    """Return a file's bytes.

    :raises CorruptError: the path is no file.
    """
    with opened(path) as file, os.fdopen(file, "rb", closefd=False) as whole:
        return whole.read()


def require_file(path: Path, status: os.stat_result) -> None:
    """Return if a status is that of a file.

    :raises CorruptError: it is the status of something else.
    """
    if not stat.S_ISREG(status.st_mode):
        raise no_file(path)


def require_links(root: Path, key: str) -> None:
    """Return if no link on the way to something that is not found leads nowhere.

    A person may have moved a folder to another disk, and put a link in its place. While that disk is not mounted,
    nothing in the folder may be taken for deleted.

    :param key: the parts of the way below the root, with slashes between.
    :raises StoreError: a link leads nowhere.
    """
    path = root
    for part in filter(None, key.split("/")):
        path /= part
        if path.is_symlink() and not path.exists():
            raise StoreError(
                f"{path}: is a link to {path.readlink()}, where nothing is: mount the disk with it, or remove the link "
                "if what it led to is gone for good"
            )


def no_file(path: Path) -> CorruptError:
    """Return the message for a path that should be a file and is something else."""
    return CorruptError(f"{path}: is no file; somebody put something else there: move it away, put the original back")


def holds(path: Path, data: Bytes) -> bool:
    """Return whether a file has these bytes. Read it a little at a time."""
    view = memoryview(data)
    with opened(path) as file:
        if os.fstat(file).st_size != len(view):
            return False
        at = 0
        while part := os.read(file, 1 << 20):
            if not part.startswith(view[at : at + len(part)]):
                return False
            at += len(part)
    return at == len(view)


def sync_folder(folder: Path) -> None:
    """Sync a folder, so that the names in it are on disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
