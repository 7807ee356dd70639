"""Index segments on this machine's disk, for encrypted repositories and those behind a network.

A file holds the frame of one segment, as in an unencrypted repository, under the segment's id. It contains digests and
places, and nothing of a guest; in an encrypted repository, digests are keyed. Every file here can be made again, so
nothing depends on this cache. If the folder cannot be written, the disk is full, or another process removes a file, the
program works without it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

_PART = ".part"
_READING = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Neither a link is followed, nor a pipe waited for that lies in a file's place."""


def default_cache() -> Path | None:
    """Return the folder for caches: VMKEEP_CACHE, or the user's cache folder; ``None`` if the user has no home."""
    if chosen := os.environ.get("VMKEEP_CACHE"):
        return Path(chosen)
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():  # the XDG rules say to ignore a relative one
        return shared
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ".cache" if home.is_absolute() else None


class SegmentCache:
    """One folder of segments. Any number of processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def ids(self) -> set[str]:
        """Return the ids of the cached segments. Also removes files that a dead process left half written."""
        found = set()
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.suffix == _PART:
                    _remove_if_dead(path)
                else:
                    found.add(path.name)
        return found

    def forget(self, ids: Iterable[str]) -> None:
        """Remove segments."""
        for name in ids:
            with suppress(OSError):
                (self._folder / name).unlink()

    def open(self, segment: str) -> int | None:
        """Return an open file with a segment, or ``None``. The caller has to see whether it is whole."""
        if not self._is_ours():
            return None
        with suppress(OSError):
            return os.open(self._folder / segment, _READING)
        return None

    def add(self, segment: str, fill: Callable[[int], None], *, sync: bool) -> int | None:
        """Let ``fill`` write a segment to an open file, keep it under its id, and return that file.

        :param sync: make the file durable before it gets its name, because nobody will read it as a whole again.
        :returns: ``None`` if the disk has no room, or we may not write. Other errors of ``fill`` are passed on.
        """
        path = self._folder / f"{secrets.token_hex(16)}{_PART}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._is_ours():
                return None
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fill(file)
            if sync:
                os.fsync(file)
            path.rename(self._folder / segment)
            fcntl.flock(file, fcntl.LOCK_UN)
        except BaseException as error:
            with suppress(OSError):
                path.unlink()
            os.close(file)
            if isinstance(error, OSError):
                return None
            raise
        return file

    def _is_ours(self) -> bool:
        """Return whether nobody else can write to the folder, so that its contents can be trusted."""
        with suppress(OSError):
            status = self._folder.stat()
            return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        return False


def _remove_if_dead(path: Path) -> None:
    """Remove a half-written file, unless its writer still holds it."""
    with suppress(OSError):
        file = os.open(path, _READING)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(file)
