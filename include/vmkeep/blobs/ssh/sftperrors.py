"""Tells what a failed request at an SFTP server means. This module knows no verbs of a store.

SFTP has numbers for few errors. All others, a full and a read-only disk among them, have one number and a text in the
server's language. paramiko raises them as an ``OSError`` without a number. Some servers call a read-only disk a denied
access. So after a write that failed, the server is asked for the state of its file system, if it has the request.
"""

from __future__ import annotations

from collections.abc import Callable

from vmkeep.blobs.ssh.sftpio import FileSystem
from vmkeep.blobs.ssh.sshaccess import silence
from vmkeep.blobs.store import room_needed
from vmkeep.errors import (
    BlobNotFoundError,
    PermissionDeniedError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    VmKeepError,
)

_ROUNDING = 64 << 10
"""Bytes that a file system needs besides a file's own."""


def failure(
    error: Exception, *, where: str, key: str, name: str, writing: int | None, ask: Callable[[], FileSystem | None]
) -> VmKeepError:
    """Return the error of a store for one of the SFTP library.

    :param where: the location of the store.
    :param name: the location of the blob.
    :param writing: number of bytes that were to be written, 0 also for a removal; ``None``: nothing was to be changed.
    :param ask: returns the state of the file system as the server tells it now.
    """
    if isinstance(error, FileNotFoundError):
        return (
            BlobNotFoundError(f"{name}: no such blob")
            if writing is None
            else StoreError(f"{name}: a folder above it is gone")
        )
    if isinstance(error, TimeoutError):
        return StoreError(f"{name}: the server hangs: {silence()}")
    untold = type(error) is OSError and error.errno is None
    denied = isinstance(error, PermissionError)
    if writing is not None and (untold or denied) and (found := ask()) is not None:
        if found.read_only:
            return StoreReadOnlyError(
                f"{name}: nothing can be written below {where}, because the server's file system is mounted read-only: "
                "mount it writable there; if nobody has mounted it so, the server's kernel did after an error of the "
                "disk (dmesg tells of it), and the file system has to be checked first"
            )
        if untold and found.free < writing + _ROUNDING:
            return StoreFullError(f"{where}: no space left for {key} ({room_needed(writing)})")
    if denied:
        return PermissionDeniedError(
            f"{name}: the server denies access; let its user write below the folder", target=key
        )
    hint = " (a quota that is used up says no more than this)" if untold else ""
    return StoreError(f"{name}: {str(error) or type(error).__name__}{hint}")
