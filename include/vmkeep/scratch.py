"""Temporary files, and one error that names the remedy if their folder has no room.

An error of the operating system names no remedy, nor the folder of a nameless file. Python raises another error if it
finds no folder in which it can write, for example because a disk is full.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from vmkeep.errors import TransientError

_PRIVATE = "vmkeep-private-"
_YOUNG_SECONDS = 60.0
"""Age up to which a folder without a lock is left alone."""


def scratch_folder() -> Path:
    """Return the folder for temporary files.

    :raises TransientError: no file can be created in any of the usual folders now, e.g. because the disk is full.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # Python tried to write a small file in each folder
        raise TransientError(
            "this machine has no writable folder for temporary files: free space in /tmp, or set TMPDIR"
        ) from error


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system, raised while files below a folder are written, into one with a remedy.

    :raises TransientError: an :class:`OSError` was raised.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TransientError(f"{folder}: {reason}: free space in this folder, or set TMPDIR") from error


@contextmanager
def scratch_file(name: str, text: str) -> Iterator[Path]:
    """Write a text file that only this user can read, and remove it at the end.

    :raises TransientError: the file cannot be written.
    """
    with private_folder() as folder:
        path = folder / name
        with writing_to(folder):
            path.write_text(text, encoding="utf-8")
        yield path


@contextmanager
def private_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter, and remove it with all files in it at the end.

    Those that killed processes of this user have left are removed, too.

    :raises TransientError: the folder cannot be made.
    """
    folder = scratch_folder()
    with ExitStack() as stack:
        with writing_to(folder):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PRIVATE, dir=folder)))
            _remove_dead(folder, before=path.stat().st_mtime - _YOUNG_SECONDS)
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, handle)
        with suppress(OSError):  # a file system without locks: then nobody takes this folder for a dead one's either
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield path


def _remove_dead(folder: Path, *, before: float) -> None:
    """Remove private folders whose lock nobody holds. A young one may be of a process that has no lock yet."""
    for path in folder.glob(f"{_PRIVATE}*"):
        with suppress(OSError):  # another process has removed it, or works in it
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(handle)
                if status.st_uid == os.geteuid() and status.st_mtime < before:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
