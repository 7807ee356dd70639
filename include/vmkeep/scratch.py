"""Temporary files, and one error that names the remedy if their folder has no room.

An error of the operating system names no remedy, nor the folder of a nameless file. Python raises another error if it
finds no folder in which it can write, for example because a disk is full.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vmkeep.errors import TransientError


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

    :raises TransientError: the folder cannot be made.
    """
    folder = scratch_folder()
    with ExitStack() as stack:
        with writing_to(folder):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmkeep-", dir=folder)))
        yield path
