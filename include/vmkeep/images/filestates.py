"""Tells whether a file was written to since its manifest was, without reading it.

The manifest keeps the file's inode, its size and the time of its last write. A copy is another inode. Whoever puts the
time back, as ``touch -r`` does, cannot put back the time at which the inode changed, which is compared with that of the
manifest. So a copy may be taken for a changed file. The other way round, somebody has to write into the file, put its
time back, and write the manifest anew.
"""

from __future__ import annotations

from pathlib import Path


def state_of(path: Path) -> str:
    """Return the state of a file, for its manifest."""
    status = path.stat()
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def is_unwritten(path: Path, state: str | None, manifest: Path) -> bool:
    """Return whether a file is as it was when its manifest was written.

    :param state: the file's state by the manifest.
    """
    return state == state_of(path) and path.stat().st_ctime_ns <= manifest.stat().st_ctime_ns
