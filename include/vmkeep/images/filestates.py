"""Tells whether a file was written to since its manifest was, without reading it.

The manifest keeps the file's inode, its size and the time of its last write. A copy is another inode. Whoever puts the
time back, as ``touch -r`` does, cannot put back the time at which the inode changed, which is compared with that of the
manifest. So a copy may be taken for a changed file. The other way round, somebody has to write into the file, put its
time back, and write the manifest anew.

The clock of a file system ticks every few milliseconds, and that of FAT every two seconds. Two writes within one tick
bear one time. So a state is only told once the clock has gone on since the last write, because then each later write
bears another time.
"""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Final

_LONGEST_TICK: Final = 3.0
"""Seconds in which the clock of every file system has ticked, with one to spare."""
_POLL: Final = 0.002


def settled_state(path: Path) -> str | None:
    """Return the state of a file, for its manifest; ``None``: nobody could tell a later write from it.

    Waits for a tick of the file system's clock if the file was written just now. A file with a time of the future has
    no such state, and neither has one in a folder that takes no file more, by which the clock is read.
    """
    deadline = time.monotonic() + _LONGEST_TICK
    while True:
        try:
            clock = _clock_of(path.parent)  # read first, so that it is not ahead of a write that comes after the look
        except OSError:
            return None
        status = path.stat()
        if max(status.st_mtime_ns, status.st_ctime_ns) < clock:
            return _as_text(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL)


def is_unwritten(path: Path, state: str | None, manifest: Path) -> bool:
    """Return whether a file is as it was when its manifest was written.

    :param state: the file's state by the manifest; ``None``: it tells nothing.
    """
    status = path.stat()
    return state == _as_text(status) and status.st_ctime_ns <= manifest.stat().st_ctime_ns


def _as_text(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def _clock_of(folder: Path) -> int:
    """Return the time by the clock of a folder's file system, in nanoseconds since 1970, by a file that is made now."""
    probe = folder / f".{secrets.token_hex(8)}.partial"
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime_ns
    finally:
        probe.unlink(missing_ok=True)
