"""Gives a finished file its final name, unless that name is taken. Of several processes that try, exactly one succeeds.

The means is a hard link, which fails if the name is taken. FAT, exFAT and some network file systems have no hard links;
there Linux can rename without replacing (``renameat2``). A few file systems in user space can do neither. There a file
lock lets one of this machine's processes win. That lock does not hold between machines, so :func:`is_atomic` says no,
and maintenance deletes nothing in such a folder.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_FLAGS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_HERE = -100
"""``AT_FDCWD``: relative paths begin at the process's current folder."""
_NO_REPLACE = 1
"""``RENAME_NOREPLACE``."""


def name_if_free(temporary: Path, path: Path) -> bool:
    """Give a file its final name, unless that name is taken; return whether it was free.

    The file may keep its first name, too.

    :raises FileNotFoundError: the file, or the folder for its final name, is gone.
    """
    with suppress(FileExistsError):
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _rename(temporary, path)
        return True
    return False


def _rename(temporary: Path, path: Path) -> None:
    """Rename a file without replacing another, on a file system without hard links."""
    try:
        rename_if_free(temporary, path)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        with _one_at_a_time(temporary.parent):
            if path.exists():
                raise FileExistsError(path) from None
            temporary.rename(path)


def rename_if_free(source: Path, target: Path) -> None:
    """Rename a file, unless the new name is taken. Use ``renameat2``, because Python has no call for this.

    :raises FileExistsError: the new name is taken.
    :raises OSError: this system or file system has no such rename (``EINVAL``, ``ENOSYS``), or another failure.
    """
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_HERE, os.fsencode(source), _HERE, os.fsencode(target), _NO_REPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))


def is_atomic(folder: Path) -> bool:
    """Return whether exactly one of several creators of a name in a folder succeeds, even on different machines.

    This is tried out with empty files. The rename is tried to a free name first, because Linux may refuse a taken name
    without asking the file system.
    """
    first, second = (folder / secrets.token_hex(16) for _ in range(2))
    try:
        first.touch()
        with suppress(OSError):
            os.link(first, second)
            return True
        try:
            rename_if_free(first, second)
            first.touch()
            rename_if_free(first, second)
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno not in _NO_FLAGS:
                raise
        return False
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Keep this machine's other processes and threads out. The kernel ends the lock if this process dies."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # the file system has no locks either; see is_atomic
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
