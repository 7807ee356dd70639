"""Reads files back that were just written, many at a time, because a sync costs more than the file itself."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from vmkeep.errors import VerificationError
from vmkeep.fetching.digests import digest_of

_FILES: Final = 256
_BYTES: Final = 256 << 20
"""Files and bytes that wait at most. The files are open meanwhile."""
_THREADS: Final = 32
"""File systems make the syncs of as many threads durable together."""


class ReadBack:
    """Files that were written and not read back yet; a context manager, which checks those that are left."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, bytes, str]] = []
        self._bytes = 0
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sync")

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Check the files that are left, unless the work failed anyway."""
        try:
            if kind is None:
                self.check()
        finally:
            self._pool.shutdown()
            _close(self._waiting)

    def add(self, file: int, size: int, digest: bytes, path: str) -> None:
        """Take over an open file, which is closed once it was checked.

        :param digest: that of the bytes that should be in it.
        :raises VerificationError: this or an earlier file has other bytes.
        """
        self._waiting.append((file, size, digest, path))
        self._bytes += size
        if len(self._waiting) >= _FILES or self._bytes >= _BYTES:
            self.check()

    def check(self) -> None:
        """Make all files durable, then compare each.

        :raises VerificationError: one has other bytes.
        """
        for _ in self._pool.map(os.fsync, [file for file, *_ in self._waiting]):
            pass
        for file, size, digest, path in self._waiting:
            require_same(file, size, digest, path)
        _close(self._waiting)
        self._waiting = []
        self._bytes = 0


def require_same(file: int, size: int, digest: bytes, path: str) -> None:
    """Return if a file has the bytes of a digest. They come from the disk, as far as the system lets them.

    :raises VerificationError: it has others.
    """
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    if digest_of(file, size) != digest:
        raise VerificationError(f"{path}: the written file differs from the restore point: check this machine's disk")


def _close(waiting: Iterable[tuple[int, int, bytes, str]]) -> None:
    for file, *_ in waiting:
        os.close(file)
