"""Reads the content of a guest's file once, for all scanners: into memory, or into a temporary file if it is large."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vmkeep.errors import CorruptError
from vmkeep.model.guestfiles import FileEntry, GuestFileSystem
from vmkeep.scanning.contract import Content
from vmkeep.scratch import writing_to

IN_MEMORY: Final = 4 << 20
"""Bytes of the largest file that is held in memory."""
_PIECE: Final = 1 << 20


@contextmanager
def loaded(
    files: GuestFileSystem, entry: FileEntry, *, folder: Path, on_bytes: Callable[[int], None]
) -> Iterator[Content]:
    """Read a file, and hold its content until the context is left.

    :param folder: takes the temporary file.
    :param on_bytes: called with the number of bytes of each piece that was read.
    :raises CorruptError: the file is damaged, or longer or shorter than its file system says.
    :raises TransientError: there is no space for the temporary file.
    """
    if entry.size <= IN_MEMORY:
        data = b"".join(_pieces(files, entry, on_bytes))
        yield Content(name=entry.path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), data=data)
        return
    with writing_to(folder):
        spool = tempfile.NamedTemporaryFile(dir=folder, prefix="file-")  # noqa: SIM115 - closed below
    with spool:
        digest = hashlib.sha256()
        for piece in _pieces(files, entry, on_bytes):
            digest.update(piece)
            with writing_to(folder):
                spool.write(piece)
        with writing_to(folder):
            spool.flush()
        yield Content(name=entry.path, size=entry.size, sha256=digest.hexdigest(), path=Path(spool.name))


def _pieces(files: GuestFileSystem, entry: FileEntry, on_bytes: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the pieces of a file, and compare their sum with the size that the file system tells."""
    read = 0
    with files.open(entry.path) as file:
        while piece := file.read(_PIECE):
            read += len(piece)
            if read > entry.size:
                break
            on_bytes(len(piece))
            yield piece
    if read != entry.size:
        raise CorruptError(f"its content has {'more' if read > entry.size else read} bytes, and not {entry.size}")
