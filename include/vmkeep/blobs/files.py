"""Files and folders of a local file system: reading, comparing, and having names reach the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmkeep.blobs.store import Bytes


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file for reading."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def holds(path: Path, data: Bytes) -> bool:
    """Whether the file has these bytes, read a little at a time."""
    view = memoryview(data)
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != len(view):
            return False
        at = 0
        while part := file.read(1 << 20):
            if not part.startswith(view[at : at + len(part)]):
                return False
            at += len(part)
    return at == len(view)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
