"""Drafts: what is written gets its name when it is complete, and nothing of it stays if it never is.

A draft's name tells the process that writes it. So the next draft in the same folder removes those of processes that
were killed, and no other.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from vmkeep.blobs import name_if_free, sync_folder
from vmkeep.errors import ConflictError, NotFoundError
from vmkeep.processes import is_dead_mark, mark_of_this_process

_LONGEST: Final = 100
"""Bytes of the final name that a draft's name repeats."""
_DRAFT: Final = re.compile(r"\..*\.vmkeep-([0-9a-z-]+)-[0-9a-f]{8}", re.DOTALL)


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
    _sweep(out.parent)
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
    _sweep(out.parent)
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
    name = os.fsencode(out.name)[:_LONGEST].decode(errors="ignore")
    return out.parent / f".{name}.vmkeep-{mark_of_this_process()}-{secrets.token_hex(4)}"


def _sweep(folder: Path) -> None:
    """Remove the drafts in a folder whose processes are surely dead, if they are this user's."""
    for draft in folder.iterdir():
        found = _DRAFT.fullmatch(draft.name)
        if found is None or not is_dead_mark(found[1]):
            continue
        with suppress(OSError):  # somebody else has removed it, or it cannot be: it is no more than room on a disk
            status = draft.lstat()
            if status.st_uid != os.geteuid():
                continue
            if stat.S_ISDIR(status.st_mode):
                _remove(draft)
            elif stat.S_ISREG(status.st_mode):
                draft.unlink()


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
