"""Files of an export in a folder, while they are written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from vmkeep.errors import StoreFullError, TransferError, VmKeepError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class LocalSink:
    """A file of a draft. Any thread may write anywhere. It takes the parts of a :class:`PartSink`, too."""

    in_order = False
    sha256 = None

    def __init__(self, path: Path, *, size: int | None) -> None:
        """Create a sparse file.

        :param size: its size in bytes, to be refused at once where the file system cannot have such a file.
        """
        self._path = path
        self.size = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640)
            if size is not None:
                os.ftruncate(self._file, size)
        except OSError as error:
            raise unwritable(path, error) from error

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes; see :class:`vmkeep.model.sinks.Sink`."""
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += os.pwrite(self._file, view[done:], offset + done)
        except OSError as error:
            raise unwritable(self._path, error) from error

    @property
    def what(self) -> str:
        """The file's name in errors."""
        return self._path.name

    def send(self, number: int, start: int, content: bytearray) -> None:
        """Write a part."""
        del number
        self.write_at(start, content)

    def end(self, size: int) -> None:
        """Set the size, and wait until all is on disk."""
        self.finish(size)

    def read(self, start: int, length: int) -> bytes:
        """Return bytes of the file."""
        try:
            return os.pread(self._file, length, start)
        except OSError as error:
            raise TransferError(f"{self._path}: cannot be read back: {error.strerror}") from error

    def reserve(self, offset: int, length: int) -> None:
        """Do nothing, because any byte can be written at any time."""

    def finish(self, size: int) -> None:
        """Set the size, and wait until all is on disk."""
        try:
            os.ftruncate(self._file, size)
            os.fsync(self._file)
        except OSError as error:
            raise unwritable(self._path, error) from error
        self.size = size

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def unwritable(path: Path, error: OSError) -> VmKeepError:
    """Return the error of ours for one of the system's."""
    if error.errno in _FULL:
        return StoreFullError(f"{path}: no space left: {error.strerror}; nothing was exported")
    return TransferError(f"{path}: cannot be written: {error.strerror}")


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file, and wait until it is on disk."""
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(file, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(file)
