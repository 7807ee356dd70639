"""Timetables, in which calls book time slots one after another: in memory, or shared by all processes of a machine.

Times are those of the monotonic clock, which all processes of a machine share until it is restarted.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

_END = struct.Struct("<d")


class Timetable(Protocol):
    """Hands out time slots; no two slots overlap. Thread-safe."""

    def book(self, length: float, *, earliest: float) -> float:
        """Book a slot of ``length`` seconds that does not begin before ``earliest``; return its beginning."""


class OwnTimetable:
    """The timetable of one process."""

    def __init__(self) -> None:
        self._end = 0.0
        self._lock = threading.Lock()

    def book(self, length: float, *, earliest: float) -> float:
        """Book a slot; see :meth:`Timetable.book`."""
        with self._lock:
            begins = max(earliest, self._end)
            self._end = begins + length
        return begins


class SharedTimetable:
    """The timetable of all processes that name the same file. Its first eight bytes hold the end of the last slot."""

    def __init__(self, path: Path) -> None:
        """:raises OSError: the file cannot be created, or there is no room for it."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.posix_fallocate(self._file, 0, _END.size)  # so that a disk that is full later fails no call
        self._lock = threading.Lock()  # the lock on the file keeps processes apart, but not threads

    def __del__(self) -> None:
        """Close the file."""
        with suppress(AttributeError, OSError):  # it was never opened
            os.close(self._file)

    def book(self, length: float, *, earliest: float) -> float:
        """Book a slot; see :meth:`Timetable.book`."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                kept = os.pread(self._file, _END.size, 0)
                end = _END.unpack(kept)[0] if len(kept) == _END.size else 0.0
                begins: float = max(earliest, end)
                os.pwrite(self._file, _END.pack(begins + length), 0)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return begins


def timetable_for(what: str) -> Timetable:
    """Return the timetable that this user's processes on this machine share; if there can be none, a new one.

    :param what: text that identifies the timetable: the location and the rate.
    """
    from tempfile import gettempdir

    from blake3 import blake3

    try:
        folder = Path(gettempdir(), f"vmkeep-{os.getuid()}")
        with suppress(FileNotFoundError):  # not Linux; an old file's slots are then in the past, it is hoped
            what += Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{folder} is not a folder of our own")
        return SharedTimetable(folder / f"line-{blake3(what.encode()).hexdigest()[:32]}")
    except OSError as error:
        log.warning("the rate limit holds for this process alone: %s", error)
        return OwnTimetable()
