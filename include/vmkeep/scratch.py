"""Temporary files, and one error with its remedy where the folder for them has no room.

An error of the operating system names neither the folder of a nameless file nor a remedy. Python adds its own error
where it finds no folder at all, and a full disk is one reason for that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vmkeep.errors import TransientError


def scratch_folder() -> Path:
    """Return the folder for temporary files.

    :raises TransientError: no file can be made in any place now, e.g. because the disk is full.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # each place was tried with a small file
        raise TransientError(
            "this machine has no folder for temporary files that can be written: free space in /tmp, or set TMPDIR"
        ) from error


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn an error of the operating system, met while something is written below a folder, into one with a remedy.

    :raises TransientError: in place of any :class:`OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise TransientError(f"{folder}: {reason}: free space in this folder, or set TMPDIR") from error


@contextmanager
def scratch_file(name: str, text: str) -> Iterator[Path]:
    """Write a text file that only this user can read, and remove it at the end.

    :raises TransientError: it cannot be written.
    """
    folder = scratch_folder()
    with ExitStack() as stack:
        with writing_to(folder):
            path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmkeep-", dir=folder)), name)
            path.write_text(text, encoding="utf-8")
        yield path
