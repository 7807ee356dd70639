"""Drafts: what is written gets its name when it is complete, and nothing of it stays if it never is."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vmkeep.blobs import name_if_free, sync_folder
from vmkeep.errors import ConflictError, NotFoundError

_LONGEST = 100
"""Characters of the final name that a draft's name repeats."""


def require_free(out: Path) -> None:
    """Return if something of this name can be written.

    :raises ConflictError: the name is taken.
    :raises NotFoundError: there is no folder for it.
    """
    if os.path.lexists(out):
        raise _taken(out)
    if not out.parent.is_dir():
        raise NotFoundError(f"{out.parent}: there is no such folder; make it first")


@contextmanager
def file_draft(out: Path) -> Iterator[int]:
    """Yield a new file, open for reading and writing, that gets its name when the context is left without an error.

    :raises ConflictError: the name is taken.
    """
    require_free(out)
    draft = _beside(out)
    file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield file
        os.fsync(file)
        if not name_if_free(draft, out):
            raise _taken(out)
        sync_folder(out.parent)
    finally:
        os.close(file)
        draft.unlink(missing_ok=True)


@contextmanager
def folder_draft(out: Path) -> Iterator[Path]:
    """Yield a new folder that only this user can enter, and that gets its name at the end.

    :raises ConflictError: the name is taken.
    """
    require_free(out)
    draft = _beside(out)
    draft.mkdir(0o700)
    try:
        yield draft
        if os.path.lexists(out):
            raise _taken(out)
        draft.rename(out)  # never replaces a file, nor a folder with anything in it
        sync_folder(out.parent)
    except BaseException:
        _remove(draft)
        raise


def _beside(out: Path) -> Path:
    return out.parent / f".{out.name[:_LONGEST]}.vmkeep-{secrets.token_hex(4)}"


def _taken(out: Path) -> ConflictError:
    return ConflictError(f"{out}: exists already; nothing was written: choose another name")


def _remove(folder: Path) -> None:
    """Remove a folder, also where modes of the guest forbid it to its owner."""

    def again(function: Callable[..., Any], path: str, _info: Any) -> None:
        for place in (os.path.dirname(path), path):  # noqa: PTH120 - a text with the guest's bytes in it
            if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                os.chmod(place, 0o700)  # noqa: PTH101
        if function in (os.open, os.scandir, os.listdir):
            shutil.rmtree(path, ignore_errors=True)
        else:
            function(path)

    shutil.rmtree(folder, onerror=again)
